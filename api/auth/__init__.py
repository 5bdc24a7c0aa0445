"""Authentication: sign-in, keys, roles, limits, and headers that guard browsers.

Routes ask `api.auth.principal.current_principal` who is asking, and `require_role`
whether they may.
"""
