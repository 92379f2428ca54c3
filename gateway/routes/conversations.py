"""`/v1/conversations`: sessions as OpenAI's Conversations API has them."""

from litestar import Router, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.knowledge import ListPage
from gateway.openai.response_items import Item, read_items
from gateway.openai.responses import ConversationObject, DeletedConversation
from gateway.openai.responses_request import CreateConversation, CreateItems, UpdateConversation
from gateway.routes.pages import Limit, page
from gateway.routes.responses import itself
from gateway.sessions.conversations import Conversation
from rag.paging import Order

_NEEDED = needs("inference")


@post("/", opt=_NEEDED, status_code=200, operation_id="create_conversation")
async def create(
    data: JSONBody[CreateConversation], caller: Caller, services: Provided
) -> ConversationObject:
    """Make a conversation, with its first items."""
    items = read_items(data.items or [], "items")
    made = await services.conversations.create(caller, data.metadata or {}, items)
    return _object(made)


@get("/{conversation_id:str}", opt=_NEEDED, operation_id="get_conversation")
async def get_one(
    conversation_id: FromPath[str], caller: Caller, services: Provided
) -> ConversationObject:
    """Return one conversation; a session is one too."""
    return _object(await services.conversations.find(caller, conversation_id))


@post("/{conversation_id:str}", opt=_NEEDED, status_code=200, operation_id="update_conversation")
async def update(
    conversation_id: FromPath[str],
    data: JSONBody[UpdateConversation],
    caller: Caller,
    services: Provided,
) -> ConversationObject:
    """Put other metadata in place of a conversation's."""
    metadata = data.metadata or {}
    found = await services.conversations.set_metadata(caller, conversation_id, metadata)
    return _object(found)


@delete("/{conversation_id:str}", opt=_NEEDED, status_code=200, operation_id="delete_conversation")
async def remove(
    conversation_id: FromPath[str], caller: Caller, services: Provided
) -> DeletedConversation:
    """Delete a conversation with its items; it is gone as a session too."""
    await services.conversations.delete(caller, conversation_id)
    return DeletedConversation(conversation_id)


@post(
    "/{conversation_id:str}/items",
    opt=_NEEDED,
    status_code=200,
    operation_id="create_conversation_items",
)
async def add_items(
    conversation_id: FromPath[str],
    data: JSONBody[CreateItems],
    caller: Caller,
    services: Provided,
) -> ListPage[Item]:
    """Add items at the end."""
    items = read_items(data.items, "items")
    added = await services.conversations.add(caller, conversation_id, items)
    return page(added, len(added), itself)


@get("/{conversation_id:str}/items", opt=_NEEDED, operation_id="list_conversation_items")
async def list_items(
    conversation_id: FromPath[str],
    caller: Caller,
    services: Provided,
    limit: Limit = 20,
    after: FromQuery[str | None] = None,
    order: FromQuery[Order] = "desc",
) -> ListPage[Item]:
    """List the items."""
    items = await services.conversations.page(
        caller, conversation_id, limit=limit + 1, after=after, order=order
    )
    return page(items, limit, itself)


@get(
    "/{conversation_id:str}/items/{item_id:str}",
    opt=_NEEDED,
    operation_id="get_conversation_item",
)
async def get_item(
    conversation_id: FromPath[str], item_id: FromPath[str], caller: Caller, services: Provided
) -> Item:
    """Return one item."""
    return await services.conversations.item(caller, conversation_id, item_id)


@delete(
    "/{conversation_id:str}/items/{item_id:str}",
    opt=_NEEDED,
    status_code=200,
    operation_id="delete_conversation_item",
)
async def remove_item(
    conversation_id: FromPath[str], item_id: FromPath[str], caller: Caller, services: Provided
) -> ConversationObject:
    """Take an item out, and return the conversation."""
    found = await services.conversations.remove(caller, conversation_id, item_id)
    return _object(found)


def _object(conversation: Conversation) -> ConversationObject:
    return ConversationObject(conversation.id, conversation.created_at, conversation.metadata)


ROUTER = Router(
    "/v1/conversations",
    route_handlers=[
        *(create, get_one, update, remove),
        *(add_items, list_items, get_item, remove_item),
    ],
    tags=["conversations"],
)
