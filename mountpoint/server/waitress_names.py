"""The names of waitress that this package depends on, beyond the arguments that waitress documents.

Any release of waitress may change them. A test compares this list with the code in both directions, and the suite runs
against the oldest release that ``pyproject.toml`` admits and against the newest.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Dependency(NamedTuple):
    """Names of *owner*, a module or class of waitress, and the reason why they are needed."""

    owner: str
    names: tuple[str, ...]
    reason: str


def _needs(owner: str, names: str, reason: str) -> Dependency:
    return Dependency(f"waitress.{owner}" if owner else "waitress", tuple(names.split()), reason)


DEPENDENCIES: Final = (
    # ------------------------------------------------------------------------------------------- parse a request
    _needs(
        "parser.HTTPRequestParser",
        "received completed empty error expect_continue headers_finished close path version headers",
        "the interface that our parser implements for waitress's channel",
    ),
    _needs(
        "parser.HTTPRequestParser",
        "adj command query request_uri url_scheme get_body_stream",
        "names that our parser shares with waitress's",
    ),
    _needs("utilities", "build_http_date", "the header Date, once a second"),
    _needs("utilities", "Error InternalServerError", "an error that waitress turns into a response"),
    _needs("utilities.Error", "__init__ code reason", "the same"),
    _needs("utilities.Error", "to_response", "the header Retry-After"),
    _needs("buffers", "OverflowableBuffer", "a body that moves to a file when it grows"),
    _needs("buffers.OverflowableBuffer", "append getfile close", "the same"),
    # ----------------------------------------------------------------------------------------- write a response
    _needs("task", "ErrorTask Task", "tasks of our own"),
    _needs("task.ErrorTask", "execute content_length", "errors of waitress, in a response of our own"),
    _needs("task.Task", "__init__ service start request channel start_time status", "the access log"),
    _needs(
        "task.Task",
        "write finish build_response_header version chunked_response wrote_header has_body close_on_finish",
        "HEAD, the drain, connections that are kept, and the header in one packet with the start of the body",
    ),
    _needs(
        "task.Task",
        "complete content_length content_bytes_written logged_write_excess logger",
        "the WSGI call with the app of the route, where waitress calls one app for all requests",
    ),
    _needs("buffers", "ReadOnlyFileBasedBuffer", "wsgi.file_wrapper"),
    _needs("buffers.ReadOnlyFileBasedBuffer", "prepare get file remain", "files that are slow to read or cut short"),
    _needs("buffers.FileBasedBuffer", "close", "HEAD of a file"),
    # ------------------------------------------------------------------------------------- serve a connection
    _needs("channel", "HTTPChannel ClientDisconnected", "a connection of our own"),
    _needs("channel.HTTPChannel", "task_class error_task_class", "our classes instead of waitress's"),
    _needs("channel.HTTPChannel", "service request requests requests_lock connected", "the queues"),
    _needs("channel.HTTPChannel", "addr server check_client_disconnected", "the environ and the log"),
    _needs(
        "channel.HTTPChannel",
        "adj handle_close last_activity total_outbufs_len",
        "closing a connection whose client is stuck",
    ),
    _needs(
        "channel.HTTPChannel",
        "_flush_exception _flush_some_if_lockable",
        "a try to send, which shows whether the client reads",
    ),
    _needs("channel.HTTPChannel", "send_continue sent_continue", "100 (Continue)"),
    _needs("channel.HTTPChannel", "write_soon", "a response that is sent without a copy"),
    _needs("channel.HTTPChannel", "_flush_some outbuf_lock", "a lock that waitress leaves out"),
    _needs("channel.HTTPChannel", "sendbuf_len", "a limit for the bytes that the loop sends at once"),
    _needs("wasyncore.dispatcher", "send", "a limit for the bytes that the loop sends at once"),
    _needs("buffers.OverflowableBuffer", "get skip __len__", "a limit for the bytes that the loop sends at once"),
    _needs("channel.HTTPChannel", "readable writable handle_write", "half-closed clients, and clients that still send"),
    _needs(
        "channel.HTTPChannel", "outbufs current_outbuf_count", "the rest of a response, which the kernel has not taken"
    ),
    _needs("channel.HTTPChannel", "will_close close_when_flushed", "the drain, and a log that cannot be written"),
    # ------------------------------------------------------------------------------------- listen, and run the loop
    _needs("server", "BaseWSGIServer TcpWSGIServer UnixWSGIServer", "listeners of our own"),
    _needs(
        "server.BaseWSGIServer",
        "__init__ channel_class add_task",
        "bound sockets, our channels and our queues: the arguments map, _sock, dispatcher, adj, sockinfo, bind_socket",
    ),
    _needs("server.BaseWSGIServer", "adj effective_port server_name", "the environ"),
    _needs(
        "server.BaseWSGIServer",
        "maintenance next_channel_cleanup",
        "time-outs that do not depend on the system's clock",
    ),
    _needs("server.BaseWSGIServer", "active_channels task_dispatcher", "time-outs, and our queues"),
    _needs("server.BaseWSGIServer", "handle_accept", "the drain, which accepts the whole accept queue"),
    _needs("server.BaseWSGIServer", "trigger pull_trigger", "waking the loop without blocking"),
    _needs("server.BaseWSGIServer", "readable", "time-outs, pauses, and an idle connection that makes room"),
    _needs("server.BaseWSGIServer", "accepting in_connection_overflow", "the connection limit"),
    _needs("trigger", "trigger", "the pipe, which forked children close"),
    _needs("trigger.trigger", "_fds", "the descriptors of the pipe"),
    _needs("trigger.trigger", "trigger", "the descriptor or socket that must not block"),
    _needs("task.ThreadedTaskDispatcher", "add_task", "the interface that our queues implement"),
    _needs("adjustments", "Adjustments", "listeners are made without create_server, which binds and runs them"),
    _needs(
        "adjustments.Adjustments",
        "asyncore_loop_timeout channel_request_lookahead channel_timeout cleanup_interval connection_limit "
        "expose_tracebacks ident inbuf_overflow max_request_header_size max_request_body_size outbuf_high_watermark "
        "outbuf_overflow recv_bytes url_scheme",
        "documented as arguments, and read here as attributes",
    ),
    _needs("", "wasyncore", "the objects that our event loop watches"),
    _needs("wasyncore", "close_all dispatcher", "the end"),
    _needs("wasyncore.dispatcher", "accepting handle_read_event logger", "our event loop, and the log"),
    _needs("wasyncore.dispatcher", "close", "closing a listener but not its trigger"),
    _needs(
        "wasyncore.dispatcher",
        "_map _fileno socket accept del_channel handle_close handle_error",
        "a listening socket that cannot accept, or that an app has closed",
    ),
    _needs("wasyncore.file_dispatcher", "_fileno", "a pipe that an app has closed"),
)
