"""The auction: Table I, regret, robustness, online, priors, estimates."""
