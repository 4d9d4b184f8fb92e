"""From findings to what people do: questions, a plan, a timeline, a comparison of laws."""
