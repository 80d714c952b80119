"""Plain processes: messages told apart by `match`, a link that tells of a crash, a monitor."""

from partisan_actors import Down, Exit, Node, monitor, receive, self_pid, send, spawn, spawn_link, trap_exits


def divider():
    """Answers ("divide", who, a, b) until it is asked to divide by zero."""
    while True:
        match receive():
            case ("divide", who, a, b):
                send(who, ("quotient", a / b))
            case "stop":
                return


def show(message):
    match message:
        case ("quotient", value):
            print("quotient", value)
        case Exit(sender, reason):
            print("linked process", sender, "ended:", reason.type, reason.message)
        case Down(_, sender, reason):
            print("monitored process", sender, "ended:", reason)


if __name__ == "__main__":
    with Node("links@127.0.0.1", listen=None):
        trap_exits()  # exit signals arrive as messages, instead of ending this process too
        pid = spawn_link(divider)
        send(pid, ("divide", self_pid(), 10, 4))
        show(receive())
        send(pid, ("divide", self_pid(), 1, 0))
        show(receive(Exit))

        other = spawn(divider)
        monitor(other)
        send(other, "stop")
        show(receive(Down))
