"""fakestripe: the part of Stripe's API that payments need, with a clock and faults.

`devnet.stripe.run.FakeStripe` serves it; `stripe.StripeClient` talks to it unpatched by
`base_addresses`. Its objects have only what the classes of the `stripe` package name.
"""
