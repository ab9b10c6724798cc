"""The paper as a claims ledger: experiments, verdicts by written rules, reports."""
