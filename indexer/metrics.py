"""Every metric of the indexer, declared in one place."""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]

HEAD = Gauge("chainfold_indexer_head_block", "Highest block reported.", ["chain"])
FINAL = Gauge("chainfold_indexer_final_block", "Highest final block.", ["chain"])
CHECKPOINT = Gauge(
    "chainfold_indexer_checkpoint_block", "Last block with no gap before it.", ["chain"]
)
LAG_BLOCKS = Gauge("chainfold_indexer_lag_blocks", "Head minus checkpoint.", ["chain"])
BLOCKS = Counter("chainfold_indexer_blocks_total", "Blocks written.", ["chain"])
FACTS = Counter("chainfold_indexer_facts_total", "Facts written.", ["chain"])
UNDECODABLE = Counter(
    "chainfold_indexer_undecodable_logs_total",
    "Logs of followed contracts that are not what their ABI or IDL says.",
    ["chain"],
)
AUDITED = Counter(
    "chainfold_indexer_audited_blocks_total",
    "Blocks of history read again to prove them.",
    ["chain"],
)
RETRIES = Counter(
    "chainfold_indexer_retries_total", "Steps that failed and were retried.", ["chain"]
)
BALANCES_DIFFER = Gauge(
    "chainfold_indexer_differing_balances",
    "Followed token accounts that hold something else than their movements add up to.",
    ["chain"],
)
REORGS = Counter("chainfold_indexer_reorgs_total", "Forks rewound.", ["chain"])
STOPPED = Gauge(
    "chainfold_indexer_stopped", "1 while a chain is stopped by an incident.", ["chain"]
)
FETCH_SECONDS = Histogram(
    "chainfold_indexer_fetch_seconds", "Time to read one range.", ["chain"]
)
WRITE_SECONDS = Histogram(
    "chainfold_indexer_write_seconds", "Time to write one range.", ["chain"]
)
LATENCY_SECONDS = Histogram(
    "chainfold_indexer_head_to_row_seconds",
    "From seeing a new head to its rows being committed.",
    ["chain"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
