"""The keys of the API: where it listens, who may sign in, and what it keeps."""

from ops.docs.section import RATE, Section, SettingKey
from ops.settings import (
    ApiSettings,
    AuthSettings,
    DocumentSettings,
    ExternalSettings,
    MetricsSettings,
    StripeSettings,
)
from ops.settings.model import ChannelSettings, NotificationSettings

API_SECTIONS = (
    Section(
        "api",
        "Where the API listens, and whom it lets ask how often.",
        ApiSettings,
        {
            "host": SettingKey("text", "The address to listen at; `0.0.0.0` for all."),
            "port": SettingKey("integer", "The port; 0: one that is free."),
            "page_size": SettingKey(
                "integer", "Rows of a page when `limit` is not given."
            ),
            "limit": SettingKey(
                RATE,
                "Requests of one account, or from one address without a good "
                "credential. Counted in Redis when `[redis] url` is given, else in "
                "each process; also in each process while Redis is away.",
            ),
            "sign_in_limit": SettingKey(
                RATE, "Requests from one address that change something under `/auth`."
            ),
            "cors": SettingKey(
                "origin, or a list",
                "Sites whose pages may read answers: `https://app.example`. None "
                "when it is not given.",
            ),
            "https": SettingKey(
                "true or false",
                "Whether people reach it by HTTPS only; browsers are then told so.",
            ),
            "proxies": SettingKey(
                "integer",
                "How many proxies of yours are in front: so many `X-Forwarded-For` "
                "are believed. They must pass `Host` on as it is, for `/console`.",
            ),
            "max_body_bytes": SettingKey("integer", "Larger requests are refused."),
            "max_document_bytes": SettingKey(
                "integer", "Larger documents are refused. They are kept in memory once."
            ),
        },
    ),
    Section(
        "metrics",
        "Where Prometheus reads the API's metrics: `GET /metrics`. They are for "
        "operators, so the port is not the API's.",
        MetricsSettings,
        {
            "host": SettingKey("text", "The address that is listened at."),
            "port": SettingKey(
                "integer",
                "0: not served. The default is left out where it is taken; one that is "
                "written here must be free.",
            ),
        },
    ),
    Section(
        "documents",
        "Where the files of documents are kept, encrypted. Without a bucket: in "
        "`data_dir/documents`; what is in there may be copied to the bucket as it is. "
        "It needs `pip install 'chainfold[s3]'`. Credentials are `AWS_ACCESS_KEY_ID` "
        "and `AWS_SECRET_ACCESS_KEY`, a profile, or the machine's role.",
        DocumentSettings,
        {
            "bucket": SettingKey(
                "text", "A bucket of S3, or of what speaks as it does."
            ),
            "endpoint": SettingKey(
                "URL", "`https://minio.example:9000`; absent: Amazon's."
            ),
            "region": SettingKey(
                "text", "`eu-central-1`; absent: as the environment says."
            ),
            "prefix": SettingKey("text", "The place in the bucket: `kyc/live`."),
            "of_account": SettingKey(
                "integer", "So many documents of one account are kept."
            ),
            "mb_of_account": SettingKey(
                "integer", "So many MiB of documents of one account are kept."
            ),
        },
    ),
    Section(
        "auth",
        "Accounts. Failed sign-ins are counted in the database, for "
        "`attempt_minutes` at a time.",
        AuthSettings,
        {
            "registration": SettingKey(
                "true or false",
                "Whether anybody may open an account, as investor or issuer.",
            ),
            "secret_env": SettingKey(
                "text",
                "The variable with the secret that signs tokens, 32 bytes or more. "
                "Absent: one made at the first start, in `data_dir`; processes that "
                "share no `data_dir` need the variable.",
            ),
            "access_minutes": SettingKey("integer", "How long an access token holds."),
            "refresh_days": SettingKey("integer", "How long a refresh token waits."),
            "session_days": SettingKey(
                "integer", "When to sign in again at the latest."
            ),
            "origins": SettingKey(
                "origin, or a list",
                "Sites that may ask a wallet to sign in; absent: the API's own.",
            ),
            "attempts": SettingKey(
                "integer", "Failures of one login from one address."
            ),
            "attempts_of_login": SettingKey(
                "integer", "Failures of one login altogether."
            ),
            "attempts_from_address": SettingKey(
                "integer", "Failures from one address."
            ),
            "attempt_minutes": SettingKey("integer", "For how long failures count."),
            "external": SettingKey("section", "See below."),
        },
    ),
    Section(
        "auth.external.<name>",
        "A service that signs people in, such as Web3Auth; clients say the name as "
        "`kind`.",
        ExternalSettings,
        {
            "issuer": SettingKey("text", "The `iss` of its tokens."),
            "jwks_url": SettingKey("URL", "Its public keys."),
            "audience": SettingKey(
                "text", "The `aud` of those for us: our client id there."
            ),
            "algorithms": SettingKey("text, or a list", "`ES256`, `RS256`, `EdDSA`."),
            "solana_wallets": SettingKey(
                "true or false",
                "Whether an ed25519 key in the `wallets` of its tokens is believed to "
                "be the person's wallet of Solana.",
            ),
        },
    ),
    Section(
        "notifications",
        "How people are told what a business yields as notices. Addresses hold secrets "
        "and are in variables; their form is that of the library apprise: "
        "`mailtos://user:password@smtp.example.org?from=shop@example.org`.",
        NotificationSettings,
        {
            "language": SettingKey("`en` or `fr`", "Of e-mails."),
            "mail_env": SettingKey(
                "text",
                "The variable with the mail server's address. Without it nobody is "
                "written to by e-mail.",
            ),
            "channels": SettingKey("section", "See below."),
        },
    ),
    Section(
        "notifications.channels.<name>",
        "A channel of a team: Slack, a webhook, or what else apprise knows.",
        ChannelSettings,
        {
            "url_env": SettingKey(
                "text", "The variable with its address, as `slack://…` or `jsons://…`."
            ),
            "language": SettingKey("`en` or `fr`", "Of what is sent there."),
        },
    ),
    Section(
        "stripe",
        "The account of Stripe whose payments are read into the journal. Secrets are "
        "in a variable or a file of their own, never here.",
        StripeSettings,
        {
            "secret_key_env": SettingKey(
                "text", "The variable that holds the secret key."
            ),
            "secret_key_file": SettingKey(
                "path", "Or the file; relative to the settings."
            ),
            "webhook_secret_env": SettingKey(
                "text",
                "The variable that holds the signing secret of the webhook; two, "
                "parted by a space, while one replaces another.",
            ),
            "webhook_secret_file": SettingKey("path", "Or the file."),
            "account": SettingKey(
                "text", "`acct_…`: a key of another account is refused."
            ),
            "live": SettingKey("true or false", "Whether the key is of live mode."),
            "domains": SettingKey(
                "names, or a list",
                "The domains whose payments are said, as `domain` in the metadata of "
                "payments names them. Absent: all of this deployment.",
            ),
            "api": SettingKey("URL", "Another base address, for development."),
            "success_url": SettingKey(
                "URL",
                "The page that buyers come to when they have paid. Without it no "
                "checkout sessions are made.",
            ),
            "cancel_url": SettingKey("URL", "The page for those who did not."),
            "poll_seconds": SettingKey(
                "number", "How often it is read when no webhook comes."
            ),
            "overlap_seconds": SettingKey(
                "integer",
                "How far events are listed again, because lists show some late.",
            ),
            "timeout_seconds": SettingKey("number", "For one request."),
        },
    ),
)
