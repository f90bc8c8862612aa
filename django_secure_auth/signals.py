"""What a project may listen to. All are sent after commit, with `send_robust`.

| signal | arguments |
|---|---|
| `session_opened` | `session`, `user`, `request` |
| `session_ended` | `session_id`, `user_id`, `reason` |
| `otp_sent` | `challenge_id`, `user_id`, `purpose` |
| `otp_approved` | `challenge_id`, `user_id`, `purpose` |
| `password_changed` | `user_id`, `how` |
| `refresh_reused` | `session_id`, `user_id` |
| `role_granted` | `user_id`, `role`, `content_type_id`, `object_id`, `expires_at`, `by_id` |
| `role_revoked` | `user_id`, `role`, `content_type_id`, `object_id`, `by_id` |
| `api_key_used_first` | `key_id`, `public_id`, `user_id` |
| `security_event` | `event` |

Django's `user_logged_in`, `user_logged_out` and `user_login_failed` are sent as well.
"""

from __future__ import annotations

from django.dispatch import Signal

session_opened = Signal()
session_ended = Signal()
otp_sent = Signal()
otp_approved = Signal()
password_changed = Signal()
refresh_reused = Signal()
role_granted = Signal()
role_revoked = Signal()
api_key_used_first = Signal()
security_event = Signal()
