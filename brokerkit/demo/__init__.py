"""``brokerkit demo``: a small shop whose workers crash, and the proof that nothing was lost.

``tasks`` is the app, as its workers import it; ``plan`` says what is sent; ``journal`` is what the handlers write down
outside the broker; ``findings`` compares the two; ``progress`` and ``report`` show them; ``show`` runs it all.
"""
