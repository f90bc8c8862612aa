# The one tree of the package.

import uuid

import django.core.serializers.json
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import django_secure_auth.links.models
import django_secure_auth.otp.models
import django_secure_auth.rbac.models
import django_secure_auth.sessions.models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
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
                ("salt", models.CharField(blank=True, editable=False, max_length=128)),
                ("commitment", models.CharField(blank=True, editable=False, max_length=43)),
                ("key_id", models.CharField(blank=True, editable=False, max_length=64)),
                ("mac", models.CharField(blank=True, editable=False, max_length=43)),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [models.Index(fields=["user_id", "-id"], name="secure_auth_event_user")],
                "permissions": [("export_securityevent", "Can export security events")],
            },
        ),
        migrations.CreateModel(
            name="MailedLink",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("purpose", models.CharField(editable=False, max_length=32)),
                ("email", models.CharField(editable=False, max_length=254)),
                ("bound_to", models.CharField(blank=True, editable=False, max_length=32)),
                (
                    "payload",
                    models.JSONField(
                        default=dict, editable=False, encoder=django.core.serializers.json.DjangoJSONEncoder
                    ),
                ),
                (
                    "nonce",
                    models.CharField(default=django_secure_auth.links.models.new_nonce, editable=False, max_length=32),
                ),
                ("key_id", models.CharField(editable=False, max_length=64)),
                ("language", models.CharField(blank=True, editable=False, max_length=35)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("expires_at", models.DateTimeField(editable=False)),
                ("mailed_at", models.DateTimeField(blank=True, editable=False, null=True)),
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
                        related_name="secure_auth_links",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at",),
                "indexes": [models.Index(fields=["expires_at"], name="secure_auth_link_expiry")],
            },
        ),
        migrations.CreateModel(
            name="AddressClaim",
            fields=[
                ("key", models.CharField(editable=False, max_length=64, primary_key=True, serialize=False)),
                ("taken_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
        migrations.CreateModel(
            name="AuditSeal",
            fields=[
                ("number", models.PositiveBigIntegerField(primary_key=True, serialize=False)),
                ("sealed_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("first_row", models.PositiveBigIntegerField()),
                ("last_row", models.PositiveBigIntegerField()),
                ("after_id", models.BigIntegerField()),
                ("upto_id", models.BigIntegerField(db_index=True)),
                ("runs", models.JSONField()),
                ("late", models.JSONField(default=list)),
                ("newest_at", models.DateTimeField()),
                ("root", models.CharField(max_length=64)),
                ("tags", models.TextField(blank=True)),
                ("tags_digest", models.CharField(max_length=64)),
                ("previous", models.CharField(blank=True, max_length=64)),
                ("key_id", models.CharField(max_length=64)),
                ("mac", models.CharField(max_length=43)),
                ("purged_at", models.DateTimeField(blank=True, null=True)),
                ("purged_rows", models.PositiveBigIntegerField(blank=True, null=True)),
                ("purge_mark", models.CharField(blank=True, max_length=128)),
            ],
            options={
                "ordering": ("-number",),
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
                ("account_fingerprint", models.CharField(blank=True, editable=False, max_length=32)),
                (
                    "payload",
                    models.JSONField(
                        default=dict, editable=False, encoder=django.core.serializers.json.DjangoJSONEncoder
                    ),
                ),
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
                ("impersonation_reason", models.CharField(blank=True, editable=False, max_length=200)),
                (
                    "impersonator",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
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
            name="Role",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100, unique=True, verbose_name="name")),
                ("description", models.CharField(blank=True, max_length=255, verbose_name="description")),
                (
                    "requires_otp",
                    models.BooleanField(
                        default=False,
                        help_text="Who holds it needs an e-mailed code at each sign-in.",
                        verbose_name="requires a code",
                    ),
                ),
                (
                    "parents",
                    models.ManyToManyField(
                        blank=True,
                        help_text="This role has all that these have.",
                        related_name="children",
                        to="django_secure_auth.role",
                        verbose_name="parents",
                    ),
                ),
                (
                    "permissions",
                    models.ManyToManyField(
                        blank=True, related_name="secure_auth_roles", to="auth.permission", verbose_name="permissions"
                    ),
                ),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="RoleLink",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "role", "ancestor", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "ancestor",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="heirs", to="django_secure_auth.role"
                    ),
                ),
                (
                    "role",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="links", to="django_secure_auth.role"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="RoleAssignment",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "object_id",
                    django_secure_auth.rbac.models.ObjectIdField(
                        blank=True, default="", max_length=200, verbose_name="object id"
                    ),
                ),
                ("scope", django_secure_auth.rbac.models.ScopeField(default="", editable=False, max_length=220)),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires at")),
                (
                    "granted_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name="granted at"),
                ),
                (
                    "content_type",
                    models.ForeignKey(
                        blank=True,
                        help_text="Leave both empty to grant the role everywhere.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="contenttypes.contenttype",
                        verbose_name="kind of object",
                    ),
                ),
                (
                    "granted_by",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="granted by",
                    ),
                ),
                (
                    "role",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="assignments",
                        to="django_secure_auth.role",
                        verbose_name="role",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="secure_auth_roles",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "ordering": ("-granted_at", "-id"),
                "indexes": [
                    models.Index(fields=["user", "scope"], name="secure_auth_grant_user"),
                    models.Index(fields=["scope"], name="secure_auth_grant_object"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("user", "role", "scope"), name="secure_auth_grant_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("content_type__isnull", True), ("object_id", ""), ("scope", "")),
                            models.Q(
                                models.Q(
                                    models.Q(("object_id", ""), _negated=True),
                                    models.Q(("scope", ""), _negated=True),
                                ),
                                ("content_type__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="secure_auth_grant_scope",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="UserAccess",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="secure_auth_access",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("version", models.BigIntegerField(default=django_secure_auth.rbac.models.new_version)),
                ("computed_version", models.BigIntegerField(null=True)),
                ("roles", models.JSONField(default=list)),
                ("permissions", models.JSONField(default=list)),
                ("requires_otp", models.BooleanField(default=False)),
                ("valid_until", models.DateTimeField(null=True)),
            ],
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
        migrations.CreateModel(
            name="CompromisedPassword",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="secure_auth_compromised",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("password_fingerprint", models.CharField(editable=False, max_length=32)),
                ("reason", models.CharField(default="reported", max_length=32)),
                ("since", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                "ordering": ("-since",),
            },
        ),
        migrations.CreateModel(
            name="AccountClosing",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="secure_auth_closing",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("asked_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("closes_at", models.DateTimeField(editable=False)),
            ],
            options={
                "ordering": ("closes_at",),
                "indexes": [models.Index(fields=["closes_at"], name="secure_auth_closing_due")],
            },
        ),
        migrations.CreateModel(
            name="Impersonation",
            fields=[],
            options={
                "verbose_name": "impersonation",
                "verbose_name_plural": "impersonations",
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("django_secure_auth.session",),
        ),
    ]
