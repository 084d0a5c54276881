"""How the server knows who asks: bearer tokens, sign-in by an identity provider, and how much one may ask for.

May import what the rest of ``server.web`` may; Authlib is imported when ``auth.mode`` is oidc only. Start with
:mod:`jobmon.server.web.identity` for the rules, then :mod:`~jobmon.server.web.auth.settings` and
:mod:`jobmon.server.web.gate`, which every request passes.
"""
