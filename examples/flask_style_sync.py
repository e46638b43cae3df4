"""Plain functions in threads, as in Flask and Django, share one client. Run me: python flask_style_sync.py"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from brokerkit import App, TaskStatus

app = App("sqlite:///images.db")
client = app.blocking()  # one for the process; a server that forks opens it afterwards: client.open()


@app.task
def resize(image: str, width: int) -> str:
    return f"{image} is {width} pixels wide"


def post_image(image: str) -> str:
    """POST /images: the work is safe when this returns; its id is what the browser asks with."""
    return client.send(resize.message(image, 640)).id


def get_image(task_id: str) -> str:
    """GET /images/<id>: from the store, so that any process can answer."""
    status = client.status(task_id)
    if status is None:
        return "404 not found"
    if status is not TaskStatus.SUCCESS:
        return f"202 {status.value}"
    return f"200 {client.result(client.handle(task_id, resize))}"


def main() -> None:
    with client, ThreadPoolExecutor(4) as pool:  # the server and its threads
        ids = list(pool.map(post_image, ["cat", "dog", "owl"]))
        print(get_image(ids[0]))
        with subprocess.Popen([sys.executable, "-m", "brokerkit", "worker", "flask_style_sync:app"]) as worker:
            client.wait([client.handle(task_id) for task_id in ids], timeout=30)
            worker.terminate()
        for answer in pool.map(get_image, [*ids, "no such id"]):
            print(answer)


if __name__ == "__main__":
    main()
