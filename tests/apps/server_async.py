"""server_async - server.py with FastAPI: JSON is checked against a model; bytes come from a thread of its pool."""

import collections

import fastapi
import pydantic

application = fastapi.FastAPI()
kept = collections.deque(maxlen=100)


class Record(pydantic.BaseModel):
    text: str


@application.post('/')
async def keep(records: list[Record]):
    kept.append(records)
    return [record.text for record in records]


@application.get('/{size}')
def read(size: int):
    return fastapi.Response(bytes(size))
