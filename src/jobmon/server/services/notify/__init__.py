"""Telling people: Slack, e-mail and webhooks, each in a thread of its own, so that none of them holds up anything.

Start reading in :mod:`.notifier`; :mod:`.channels` says what is configured, :mod:`.words` what is said.
"""
