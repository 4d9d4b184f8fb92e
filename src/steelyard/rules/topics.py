"""What rules are about: the rows of the crosswalk."""

from __future__ import annotations

from enum import StrEnum


class Topic(StrEnum):
    """The subject of a rule or of a parameter."""

    SCOPE = "scope"
    COMPUTE_THRESHOLD = "compute_threshold"
    REVENUE_THRESHOLD = "revenue_threshold"
    USER_THRESHOLD = "user_threshold"
    EXEMPTION = "exemption"
    DESIGNATION = "designation"
    NOTIFICATION = "notification"
    DOCUMENTATION = "documentation"
    DOWNSTREAM_INFORMATION = "downstream_information"
    COPYRIGHT = "copyright"
    TRAINING_DATA = "training_data"
    REPRESENTATIVE = "representative"
    COOPERATION = "cooperation"
    FRAMEWORK = "framework"
    TRANSPARENCY_REPORT = "transparency_report"
    RISK_ASSESSMENT = "risk_assessment"
    EVALUATION = "evaluation"
    SECURITY = "security"
    INCIDENT_REPORTING = "incident_reporting"
    WHISTLEBLOWER = "whistleblower"
    AUDIT = "audit"
    DISCLOSURE_STATEMENT = "disclosure_statement"
    RECORDS = "records"
    LABELING = "labeling"
    USER_NOTICE = "user_notice"
    PROHIBITED_PRACTICE = "prohibited_practice"
    HIGH_RISK = "high_risk"
    VALUE_CHAIN = "value_chain"
    MODIFICATION = "modification"
    TRANSITION = "transition"
    PENALTY = "penalty"
    HOSTING = "hosting"
    EXPORT = "export"
    LICENSING_TERMS = "licensing_terms"
    POLICY = "policy"
    OPENNESS = "openness"
    PRINCIPLE = "principle"

    @property
    def words(self) -> str:
        """Write it for a person."""
        return self.value.replace("_", " ").capitalize()
