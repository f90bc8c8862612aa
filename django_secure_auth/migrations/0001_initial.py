# The one tree of the package.

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import django_secure_auth.otp.models
import django_secure_auth.sessions.models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="OTPBudget",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="secure_auth_otp_budget",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("wrong_in_a_row", models.PositiveIntegerField(default=0)),
                ("changed_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "verbose_name": "OTP budget",
            },
        ),
        migrations.CreateModel(
            name="SecurityEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("occurred_at", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
                ("event_type", models.CharField(db_index=True, max_length=32)),
                ("event", models.CharField(max_length=64)),
                ("severity", models.CharField(max_length=8)),
                ("message", models.CharField(max_length=255)),
                ("user_id", models.CharField(blank=True, max_length=64)),
                ("actor_id", models.CharField(blank=True, max_length=64)),
                ("session_id", models.CharField(blank=True, max_length=36)),
                ("ip_address", models.CharField(blank=True, max_length=45)),
                ("user_agent", models.CharField(blank=True, max_length=256)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                ("details", models.JSONField(blank=True, default=dict)),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [models.Index(fields=["user_id", "-id"], name="secure_auth_event_user")],
            },
        ),
        migrations.CreateModel(
            name="OTPChallenge",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("purpose", models.CharField(default="login", editable=False, max_length=32)),
                ("email", models.EmailField(editable=False, max_length=254)),
                ("language", models.CharField(blank=True, editable=False, max_length=35)),
                ("secret_digest", models.CharField(editable=False, max_length=64, unique=True)),
                ("key_id", models.CharField(editable=False, max_length=64)),
                (
                    "nonce",
                    models.CharField(default=django_secure_auth.otp.models.new_nonce, editable=False, max_length=32),
                ),
                ("action_digest", models.CharField(blank=True, editable=False, max_length=64)),
                ("password_fingerprint", models.CharField(editable=False, max_length=32)),
                ("remember_me", models.BooleanField(default=False, editable=False)),
                ("amr", models.JSONField(default=list, editable=False)),
                ("send_number", models.PositiveSmallIntegerField(default=1, editable=False)),
                ("mailed_number", models.PositiveSmallIntegerField(default=0, editable=False)),
                ("mailing_at", models.DateTimeField(editable=False, null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0, editable=False)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("expires_at", models.DateTimeField(editable=False)),
                ("resend_at", models.DateTimeField(editable=False)),
                ("used_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("closed_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("closed_reason", models.CharField(blank=True, editable=False, max_length=32)),
                ("ip_address", models.GenericIPAddressField(blank=True, editable=False, null=True)),
                ("device_label", models.CharField(blank=True, editable=False, max_length=64)),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="secure_auth_challenges",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "OTP challenge",
                "ordering": ("-created_at",),
                "indexes": [models.Index(fields=["expires_at"], name="secure_auth_challenge_expiry")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("mailed_number__lte", models.F("send_number"))),
                        name="secure_auth_challenge_mailed",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Session",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "salt",
                    models.CharField(
                        default=django_secure_auth.sessions.models.new_salt, editable=False, max_length=32
                    ),
                ),
                ("password_fingerprint", models.CharField(editable=False, max_length=32)),
                ("generation", models.PositiveIntegerField(default=1, editable=False)),
                ("rotated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("acked", models.BooleanField(default=False, editable=False)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("last_seen_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("idle_at", models.DateTimeField(editable=False)),
                ("absolute_at", models.DateTimeField(editable=False)),
                ("remember_me", models.BooleanField(default=False, editable=False)),
                ("amr", models.JSONField(default=list, editable=False)),
                ("auth_time", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("ip_address", models.GenericIPAddressField(blank=True, editable=False, null=True)),
                ("user_agent", models.CharField(blank=True, editable=False, max_length=256)),
                ("device_label", models.CharField(blank=True, editable=False, max_length=64)),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("revoked_reason", models.CharField(blank=True, editable=False, max_length=32)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="secure_auth_sessions",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at",),
                "indexes": [
                    models.Index(fields=["user", "revoked_at"], name="secure_auth_session_user"),
                    models.Index(fields=["absolute_at"], name="secure_auth_session_abs"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("generation__gte", 1)), name="secure_auth_session_generation"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("idle_at__lte", models.F("absolute_at"))),
                        name="secure_auth_session_deadlines",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TrustedDevice",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("secret_digest", models.CharField(editable=False, max_length=64)),
                ("is_approved", models.BooleanField(default=True, editable=False)),
                ("label", models.CharField(blank=True, editable=False, max_length=64)),
                ("ip_address", models.GenericIPAddressField(blank=True, editable=False, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("expires_at", models.DateTimeField(editable=False)),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="secure_auth_devices",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at",),
                "constraints": [
                    models.UniqueConstraint(fields=("secret_digest", "user"), name="secure_auth_device_secret")
                ],
            },
        ),
        migrations.CreateModel(
            name="APIKey",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("public_id", models.CharField(editable=False, max_length=16, unique=True)),
                ("name", models.CharField(max_length=100)),
                ("digest", models.CharField(editable=False, max_length=64)),
                ("key_id", models.CharField(editable=False, max_length=64)),
                ("scopes", models.JSONField(blank=True, default=list)),
                ("allowed_networks", models.JSONField(blank=True, default=list)),
                ("rate_limit", models.CharField(blank=True, max_length=32)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("expires_at", models.DateTimeField()),
                ("last_used_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("retires_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("replaces", models.UUIDField(blank=True, editable=False, null=True, unique=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="secure_auth_api_keys",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "API key",
                "ordering": ("-created_at",),
                "indexes": [
                    models.Index(fields=["user", "revoked_at"], name="secure_auth_apikey_user"),
                    models.Index(fields=["expires_at"], name="secure_auth_apikey_expiry"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("expires_at__gt", models.F("created_at"))),
                        name="secure_auth_apikey_expires",
                    )
                ],
            },
        ),
    ]
