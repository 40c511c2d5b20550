"""The sidecar between an agent and its model's provider: it holds the credential, measures what is used, and stops at the budget.

Stands on attrs, aiohttp, prometheus_client and the price table alone; `message` and `settings` need no more than attrs.
"""
