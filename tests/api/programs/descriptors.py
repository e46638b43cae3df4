from brokerkit import App, DeadLetter, Exchange, Log, Queue, Retry, Topology

everything = Exchange("everything", type="fanout", durable=True, alternate=None, bindings=())
orders = Exchange("orders", type="topic", alternate=everything)
mirror = Exchange("mirror", type="headers", bindings=[orders.bind("order.#")])
payments = Queue(
    "payments",
    bindings=[orders.bind("order.eu.*"), mirror.bind("", headers={"kind": "payment"}, match="any"), everything.bind()],
    type="quorum",
    priorities=3,
    strict=False,
    weights=[1, 2, 4],
    max_wait=60,
    retry=Retry("fixed", max_retries=2, initial=1.0, retry_on=("ConnectionError",), give_up_on=(ValueError,)),
    max_deliveries=5,
    dead_letter=DeadLetter(name="graveyard", ttl=86400, max_length=1000),
    max_length=100_000,
    message_ttl=3600,
    timeout=30,
    single_active=False,
    mode="own",
)
history = Log(
    "history",
    bindings=[orders.bind("#")],
    retention=86400,
    max_bytes=1 << 30,
    max_length=1_000_000,
    hold_for_groups=False,
    history=True,
)
topology = Topology("shop", exchanges=(orders, mirror, everything), queues=(payments,), logs=(history,))
app = App("memory://", topology=topology)

if __name__ == "__main__":
    print(*(queue.name for queue in app.topology().queues), *(log.name for log in app.topology().logs))
