"""One service: says what happens to orders, and knows nobody who listens. Run me: python shop.py

Start the other service first, on the same broker: brokerkit worker warehouse:app
"""

import asyncio

from brokerkit import App, Exchange, Unroutable

app = App(name="shop")  # the broker in BROKERKIT_URL: amqp://guest:guest@localhost/
orders = Exchange("orders", type="topic")


async def main() -> None:
    async with app:
        for number in range(3):
            order = {"id": f"o-{number}", "lines": number + 1}
            await app.publish(order, exchange=orders, routing_key="order.eu.placed")
        await app.publish({"id": "o-3", "lines": 9}, exchange=orders, routing_key="order.eu.placed", priority="high")
        await app.publish({"id": "o-0"}, exchange=orders, routing_key="order.eu.paid")
        try:
            await app.publish({"id": "r-1"}, exchange=orders, routing_key="refund.eu")
        except Unroutable:
            print("nobody wants refunds")


if __name__ == "__main__":
    asyncio.run(main())
