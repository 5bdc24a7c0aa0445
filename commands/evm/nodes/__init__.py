"""The nodes of EVM chains: `pool` asks and sends, `answers` reads what they say."""
