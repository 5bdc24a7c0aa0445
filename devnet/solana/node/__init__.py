"""The node: JSON-RPC and WebSocket over LiteSVM. It runs in an environment of its own.

Modules here import the standard library, what ``requirements.txt`` pins, and each other
(relatively), so that the folder can be run without the product.
"""
