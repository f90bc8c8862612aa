"""Very many sessions and events at once, by SQL, on PostgreSQL; and visitors drawn from them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone

from benchmarks.ways import Visitor


def fill(*, sessions: int, events: int) -> None:
    """Add living, acknowledged sessions, spread over all users, and as many rows of the trail as asked for."""
    from django_secure_auth.models import SecurityEvent, Session  # noqa: PLC0415  # not there in the peers' processes
    from django_secure_auth.sessions.state import password_fingerprint  # noqa: PLC0415  # as above

    users = get_user_model()
    first, count = users._default_manager.order_by("pk").values_list("pk", flat=True)[0], users._default_manager.count()
    fingerprint = password_fingerprint(users._default_manager.get(pk=first).password)
    now = timezone.now()
    seen = now + timedelta(hours=6)  # so that no request has to write it: what is measured is the check
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO {Session._meta.db_table} (
                id, user_id, salt, password_fingerprint, generation, rotated_at, acked, created_at, last_seen_at,
                idle_at, absolute_at, remember_me, amr, auth_time, ip_address, user_agent, device_label, revoked_reason
            )
            SELECT gen_random_uuid(), %s + n %% %s, md5(n::text), %s, 1, %s, true, %s, %s,
                   %s, %s, false, '["pwd"]', %s, '192.0.2.1', 'Mozilla/5.0', 'Firefox on Linux', ''
            FROM generate_series(1, %s) AS n
            """,  # noqa: S608  # the table's own name
            [
                first,
                count,
                fingerprint,
                now,
                now,
                seen,
                now + timedelta(hours=8),
                now + timedelta(hours=12),
                now,
                sessions,
            ],
        )
        cursor.execute(
            f"""
            INSERT INTO {SecurityEvent._meta.db_table} (
                occurred_at, event_type, event, severity, message, user_id, actor_id, session_id, ip_address,
                user_agent, request_id, details
            )
            SELECT now() - n * interval '10 seconds', 'session', 'authn_token_created', 'INFO', 'Token renewed',
                   (%s + n %% %s)::text, (%s + n %% %s)::text, gen_random_uuid()::text, '192.0.2.1',
                   'Mozilla/5.0', md5(n::text), '{{}}'
            FROM generate_series(1, %s) AS n
            """,  # noqa: S608  # as above
            [first, count, first, count, events],
        )
        cursor.execute(f"VACUUM ANALYZE {Session._meta.db_table}, {SecurityEvent._meta.db_table}")


_ids: list[str] = []


def visitors(number: int) -> Iterator[Visitor]:
    """Browsers that hold the tokens of sessions from all over the table."""
    from django_secure_auth.models import Session  # noqa: PLC0415  # not there in the peers' processes
    from django_secure_auth.tokens.services import issue  # noqa: PLC0415  # as above

    if not _ids:
        share = min(100.0, 2_000_000 / Session.objects.count())
        sample = f"SELECT id FROM {Session._meta.db_table} TABLESAMPLE BERNOULLI (%s)"  # noqa: S608  # as above
        with connection.cursor() as cursor:
            cursor.execute(sample, [share])
            _ids.extend(str(row[0]) for row in cursor.fetchall())
    for session in Session.objects.filter(pk__in=random.sample(_ids, number)):
        tokens = issue(session)
        cookies = {
            "csrftoken": "c" * 32,
            "__Host-secure_auth_access": tokens.access,
            "__Secure-secure_auth_refresh": tokens.refresh,
        }
        yield Visitor("", cookies=cookies)
