"""A repository on a hub, through `huggingface_hub` and ranged reads: `source.HubSource`."""
