%% The paper's three workloads over Erlang's own distribution, as benchmarks/paper/workloads.py has them over ours.
%% This node asks, and what answers lives on the other one. A line of JSON on standard output tells of each cell.
%%
%% Flags: -other NODE -other_process NUMBER -workload micro|echo|kvs -cells SIZE:ACTORS,... -seconds US -limit US
-module(paper).
-export([main/0, acknowledge/0, echo/0, vnode/2]).

-define(VNODES, 3).
-define(QUORUM, 2).
-define(KEYS, 10000).
-define(STORED, (256 bsl 20)).
-define(WARM_UP_SIZE, (512 bsl 10)).

-record(setting, {workload, other, size, limit, vnodes = [], settled}).

main() ->
    Other = list_to_atom(flag(other)),
    pong = net_adm:ping(Other),
    Setting = #setting{workload = list_to_atom(flag(workload)), other = Other, limit = number(limit)},
    Cells = [list_to_tuple([list_to_integer(Number) || Number <- string:tokens(Cell, ":")])
             || Cell <- string:tokens(flag(cells), ",")],
    measure(Cells, none, Setting),
    halt(0).

flag(Name) -> {ok, [[Value] | _]} = init:get_argument(Name), Value.

number(Name) -> list_to_integer(flag(Name)).

%% Cell by cell, until one leaves something under way that would disturb the next.
measure([], _, _) -> ok;
measure([{Size, Actors} | Rest], Warm, Setting) ->
    Seconds = number(seconds),
    Size =:= Warm orelse run(Setting#setting{size = min(Size, ?WARM_UP_SIZE)}, Actors, Seconds div 5),
    {Outcome, Quiet} = run(Setting#setting{size = Size}, Actors, Seconds),
    io:format("{\"size\": ~b, \"actors\": ~b, \"messages\": ~b, \"time_us\": ~b, \"median_us\": ~b, \"p99_us\": ~b, "
              "\"near_cpu_us\": ~b, \"far_cpu_us\": ~b, \"busy_us\": ~b, \"cut\": ~p}~n", Outcome),
    case Quiet of
        true -> measure(Rest, Size, Setting);
        false -> erlang:disconnect_node(Setting#setting.other) % halting would wait for what is under way
    end.

run(Bare = #setting{other = Other, size = Size, limit = Limit}, Actors, Seconds) ->
    Main = self(),
    Vnodes = [spawn(Other, ?MODULE, vnode, [Main, Size]) || Bare#setting.workload =:= kvs, _ <- lists:seq(1, ?VNODES)],
    [receive {ready, Vnode} -> ok end || Vnode <- Vnodes],
    Setting = Bare#setting{vnodes = Vnodes, settled = counters:new(1, [])},
    Pids = [spawn_link(fun() -> actor(Main, Setting, Number) end) || Number <- lists:seq(0, Actors - 1)],
    Peers = [receive {ready, Pid, Peer} -> Peer end || Pid <- Pids],
    Before = load(),
    Began = now_us(),
    [Pid ! {go, Began + Seconds} || Pid <- Pids],
    {Times, Finished} = collect(Actors, Began + Limit, []),
    Elapsed = now_us() - Began,
    Spent = lists:zipwith(fun erlang:'-'/2, load(), Before),
    Count = length(Times),
    Quiet = Finished andalso (Vnodes =:= [] orelse settle(Setting, Count, now_us() + Limit)),
    [exit(Peer, kill) || Peer <- Vnodes ++ Peers, is_pid(Peer)],
    {Weighted, Whole} = weighted(Times),
    Measured = [Size, Actors, Count, Elapsed, percentile(Weighted, 0.5 * Whole), percentile(Weighted, 0.99 * Whole)],
    {Measured ++ Spent ++ [not Finished], Quiet}.

collect(0, _, Times) -> {Times, true};
collect(Left, Deadline, Times) ->
    receive
        {took, Actor, Time} -> collect(Left, Deadline, [{Time, Actor} | Times]);
        finished -> collect(Left - 1, Deadline, Times)
    after max(0, Deadline - now_us()) div 1000 -> {Times, false}
    end.

%% The answers that no client waits for.
settle(Setting = #setting{settled = Settled}, Requests, Deadline) ->
    case {counters:get(Settled, 1) >= Requests, now_us() < Deadline} of
        {true, _} -> true;
        {false, false} -> false;
        {false, true} -> timer:sleep(5), settle(Setting, Requests, Deadline)
    end.

%% Every actor counts the same, however many requests it made; ours.py says why.
weighted(Times) ->
    Counts = lists:foldl(fun({_, Actor}, Counts) -> Counts#{Actor => maps:get(Actor, Counts, 0) + 1} end, #{}, Times),
    {[{Time, 1 / maps:get(Actor, Counts)} || {Time, Actor} <- lists:sort(Times)], map_size(Counts)}.

percentile([], _) -> 0;
percentile([{Time, Weight} | Rest], Left) when Weight >= Left - 1.0e-6; Rest =:= [] -> Time;
percentile([{_, Weight} | Rest], Left) -> percentile(Rest, Left - Weight).

%% An actor.

actor(Main, Setting, Number) ->
    {Peer, Request} = prepare(Setting, Number),
    Main ! {ready, self(), Peer},
    receive {go, Until} -> ask(Main, Request, 0, Until) end.

ask(Main, Request, Count, Until) ->
    case Count =:= 0 orelse now_us() < Until of
        true -> Main ! {took, self(), Request(Count)}, ask(Main, Request, Count + 1, Until);
        false -> Main ! finished
    end.

prepare(#setting{workload = micro, other = Other, size = Size}, Number) ->
    Receiver = spawn(Other, ?MODULE, acknowledge, []),
    Own = self(),
    Value = value(Number, Size),
    {Receiver, fun(_) ->
        Receiver ! {Own, os:system_time(microsecond), Value},
        receive {took, Time} -> Time end
    end};
prepare(#setting{workload = echo, other = Other, size = Size}, Number) ->
    Server = spawn(Other, ?MODULE, echo, []),
    Own = self(),
    Value = value(Number, Size),
    {Server, fun(_) ->
        Began = now_us(),
        Server ! {Own, Value},
        receive {echoed, _} -> now_us() - Began end
    end};
prepare(Setting = #setting{workload = kvs, size = Size}, Number) ->
    Own = self(),
    Value = value(Number, Size),
    {none, fun(Count) ->
        Began = now_us(),
        Key = trunc((rand:normal() + 1) * ?KEYS / 2),
        Question = case (Count + Number) rem 10 of 0 -> {put, Key, Value}; _ -> {get, Key} end,
        spawn(fun() -> coordinate(Own, Setting, Question) end),
        receive done -> now_us() - Began end
    end}.

coordinate(Client, #setting{vnodes = Vnodes, settled = Settled}, Question) ->
    [Vnode ! {self(), Question} || Vnode <- Vnodes],
    answers(?QUORUM),
    Client ! done,
    answers(?VNODES - ?QUORUM),
    counters:add(Settled, 1, 1).

answers(0) -> ok;
answers(Left) -> receive {answer, _} -> answers(Left - 1) end.

%% On the other node. The receiver's clock and the sender's are the machine's.

acknowledge() ->
    receive {Sender, Sent, _} -> Sender ! {took, os:system_time(microsecond) - Sent} end,
    acknowledge().

echo() ->
    receive {Sender, Value} -> Sender ! {echoed, Value} end,
    echo().

vnode(Owner, Size) ->
    Slots = max(1, min(?KEYS, ?STORED div ?VNODES div Size)),
    Store = maps:from_list([{Slot, value(Slot, Size)} || Slot <- lists:seq(0, Slots - 1)]),
    Owner ! {ready, self()},
    store(Slots, Store).

store(Slots, Store) ->
    receive
        {Coordinator, {get, Key}} ->
            Coordinator ! {answer, maps:get(slot(Key, Slots), Store)},
            store(Slots, Store);
        {Coordinator, {put, Key, Value}} ->
            Coordinator ! {answer, true},
            store(Slots, Store#{slot(Key, Slots) := Value})
    end.

slot(Key, Slots) -> (Key rem Slots + Slots) rem Slots.

value(Number, Size) -> binary:copy(<<Number:128>>, Size div 16).

%% Time: microseconds, and CPU time as load.py reads it, in ticks of 10 ms.

now_us() -> erlang:monotonic_time(microsecond).

load() -> [process_ticks(os:getpid()) * 10000, process_ticks(flag(other_process)) * 10000, busy_ticks() * 10000].

process_ticks(Process) ->
    case file:read_file("/proc/" ++ Process ++ "/stat") of
        {ok, Text} ->
            Fields = string:tokens(binary_to_list(lists:last(binary:split(Text, <<")">>, [global]))), " "),
            ticks(lists:sublist(Fields, 12, 2));
        {error, _} -> 0
    end.

busy_ticks() ->
    case file:read_file("/proc/stat") of
        {ok, Text} ->
            [First | _] = binary:split(Text, <<"\n">>),
            [_, User, Nice, System, _, _ | Interrupts] = string:tokens(binary_to_list(First), " "),
            ticks([User, Nice, System | lists:sublist(Interrupts, 2)]);
        {error, _} -> 0
    end.

ticks(Texts) -> lists:sum([list_to_integer(Text) || Text <- Texts]).
