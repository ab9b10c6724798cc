"""The auction: Table I, regret, online, priors, estimates."""
