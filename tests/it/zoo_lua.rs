//! Hostile scripts: each is stopped within its budget, told apart, named with its own line, and leaves nothing behind.

use std::sync::Arc;

use dsengine::guest::{FaultKind, Grants, GuestContext, Limits, Needs, StateStore, Watchdog};
use dsengine::lua::{self, Script};
use dsengine::strategy::Strategy;
use dsengine::types::SourceId;

use crate::lua::{camera, camera_of, cpu_ms, person, script, script_of};

#[test]
fn what_runs_away_on_a_frame_is_stopped_and_the_strategy_goes_on() {
    let zoo = [
        ("loop", "while true do end", FaultKind::Time),
        ("loop under pcall", "while true do pcall(function() while true do end end) end", FaultKind::Time),
        ("caught and returned", "pcall(function() while true do end end)", FaultKind::Time),
        ("loop in a coroutine", "coroutine.wrap(function() while true do end end)()", FaultKind::Time),
        ("catastrophic pattern", "string.find(('a'):rep(30), ('a?'):rep(30) .. ('a'):rep(30) .. 'b')", FaultKind::Time),
        ("catastrophic gsub", "string.gsub(('a'):rep(100000), '.-.-.-.-b', 'x')", FaultKind::Time),
        (
            "metamethod",
            "local t t = setmetatable({}, {__index = function(_, k) return t[k + 1] end}) while true do pcall(function() return t[1] end) end",
            FaultKind::Time,
        ),
        (
            "sort of a large list",
            "local t = table.create(1000000, 0) for i = 1, #t do t[i] = (i * 7919) % 1000003 end while true do table.sort(t) end",
            FaultKind::Time,
        ),
        (
            "metamethod __eq",
            "local m = { __eq = function() while true do end end } local _ = setmetatable({}, m) == setmetatable({}, m)",
            FaultKind::Time,
        ),
        (
            "metamethod __iter",
            "for _ in setmetatable({}, { __iter = function() return function() return 1 end end }) do end",
            FaultKind::Time,
        ),
        ("comparator", "table.sort({ 2, 1, 3 }, function() while true do end end)", FaultKind::Time),
        ("callback of gsub", "string.gsub('aaa', 'a', function() while true do end end)", FaultKind::Time),
        ("loop under xpcall", "while true do xpcall(error, function() while true do end end) end", FaultKind::Time),
        (
            "coroutines in coroutines",
            "local function f() coroutine.wrap(f)() end while true do pcall(f) end",
            FaultKind::Time,
        ),
        (
            "hostile __metatable and __len",
            "local t = setmetatable({}, { __metatable = false, __len = function() while true do end end }) frame:keep(t)",
            FaultKind::Time,
        ),
        (
            "hostile __index of a list",
            "local t = setmetatable({}, { __len = function() return 1 end, __index = function() while true do end end }) frame:keep(t)",
            FaultKind::Time,
        ),
        ("host calls without end", "while true do log.debug('x') end", FaultKind::Time),
        ("figures without end", "while true do metrics.add('Not A Name') end", FaultKind::Time),
        ("deletions without end", "local n = 0 while true do n += 1 state.delete('k' .. n) end", FaultKind::Time),
        ("JSON without end", "while true do json.decode(('[1,'):rep(50000)) end", FaultKind::Time),
        (
            "tostring",
            "local t = setmetatable({}, {__tostring = function() while true do end end}) log.info(t)",
            FaultKind::Time,
        ),
        (
            "plain search",
            "while true do string.find(('a'):rep(1000000), ('a'):rep(66) .. 'b', 1, true) end",
            FaultKind::Time,
        ),
        (
            "a search without end",
            "string.find(('a'):rep(8000000), ('a'):rep(4000000) .. 'b', 1, true)",
            FaultKind::Error,
        ),
        ("a split without end", "string.split(('a'):rep(8000000), ('a'):rep(4000000) .. 'b')", FaultKind::Error),
        (
            "a class as long as the text",
            "string.match(('a'):rep(60000), '[^' .. ('b'):rep(60000) .. ']*')",
            FaultKind::Error,
        ),
        (
            "the same class, replaced",
            "string.gsub(('a'):rep(60000), '[^' .. ('b'):rep(60000) .. ']*', '')",
            FaultKind::Error,
        ),
        ("a format without end", "string.packsize(('x'):rep(2000000))", FaultKind::Error),
        ("a move without end", "table.move({}, 1, 2^31 - 2, 2)", FaultKind::Time),
        ("a move of numbers as texts", "table.move({}, '1', '2000000000', 5)", FaultKind::Time),
        ("a sort whose order is the library's", "table.sort(table.create(1000000, 1), rawequal)", FaultKind::Time),
        ("an empty text, repeated", "while true do local s = (''):rep(2^31 - 1) end", FaultKind::Time),
        ("a large error", "error(('x'):rep(8000000))", FaultKind::Error),
        ("deep data", "local t = {} for n = 1, 100000 do t = { t } end state.set('t', t)", FaultKind::Error),
        (
            "deep __index",
            "local t = {} for n = 1, 10000 do t = setmetatable({}, { __index = t }) end local x = t.x",
            FaultKind::Error,
        ),
        ("memory in tables", "local t = {} while true do t[#t + 1] = table.create(1000, 0) end", FaultKind::Memory),
        ("memory in one text", "local s = ('x'):rep(2^30)", FaultKind::Memory),
        ("memory by doubling", "local s = 'x' while true do s = s .. s end", FaultKind::Memory),
        ("memory in a buffer", "local b = buffer.create(2^29)", FaultKind::Memory),
        (
            "memory in closures",
            "local f = print while true do local g = f f = function() return g, {} end end",
            FaultKind::Memory,
        ),
        (
            "memory in coroutines",
            "local t = {} while true do local c = coroutine.create(function() coroutine.yield() end) coroutine.resume(c) t[#t + 1] = c end",
            FaultKind::Memory,
        ),
        (
            "memory in caught errors",
            "local t = {} while true do t[#t + 1] = select(2, pcall(error, ('x'):rep(1000) .. #t)) end",
            FaultKind::Memory,
        ),
        ("an error that is a table", "error({ code = 5 })", FaultKind::Error),
        (
            "one large table, kept many times over",
            "state.set('t', table.create(20000, table.create(1000000)))",
            FaultKind::Time,
        ),
        (
            "JSON of one large table many times over",
            "json.encode(table.create(20000, table.create(1000000)))",
            FaultKind::Time,
        ),
        ("deep JSON", "local t = {} for n = 1, 100000 do t = { t } end json.encode(t)", FaultKind::Error),
        (
            "an error with a hostile __tostring",
            "error(setmetatable({}, { __tostring = function() while true do end end }))",
            FaultKind::Time,
        ),
        ("a box of nothing finite", "frame:add{ label = 'x', bbox = { 0/0, 0, 1, 1 } }", FaultKind::Error),
        ("an index of nothing finite", "frame:label(0/0)", FaultKind::Error),
        ("an index out of range", "frame:keep(2^53)", FaultKind::Error),
        ("an index between two", "frame:keep(1.5)", FaultKind::Error),
        (
            "a hundred megabytes of message",
            "frame:alert{ rule = 'r', message = ('x'):rep(100 * 2^20) }",
            FaultKind::Memory,
        ),
        ("recursion", "local function f() return 1 + f() end f()", FaultKind::Error),
        ("recursion into pcall", "local function f() pcall(f) end f()", FaultKind::Error),
    ];
    for (name, body, kind) in zoo {
        // The first frame is the hostile one; a global shows whether later calls work.
        let text = format!(
            "function detect(frame)\nif frame:count() == 0 then\n{body}\nend\nframe:alert{{ rule = 'alive' }}\nend"
        );
        let mut hostile = script(&text);
        // So that a busy machine meets the limit that each case is about.
        hostile.context.limits.call.wall = std::time::Duration::from_secs(60);
        if kind != FaultKind::Time {
            hostile.context.limits.call.hard_cpu = std::time::Duration::from_secs(5);
        }
        let mut camera = camera_of(hostile);
        let mut result = None;
        let spent = cpu_ms(|| result = Some(camera.see(vec![])));
        // Late looks of a busy machine, and nothing like a runaway.
        if kind == FaultKind::Time {
            assert!(spent < 1000, "{name}: {spent} ms");
        }
        match result.unwrap() {
            Err(fault) => {
                assert_eq!(fault.kind, kind, "{name}: {fault}");
                assert!(fault.message.starts_with("scripts/x.lua"), "{name}: {fault}");
                assert!(fault.message.len() < 1100, "{name}: {}", fault.message.len());
                if kind == FaultKind::Time {
                    assert!(fault.message.contains(":3: stopped after 20 ms of CPU time"), "{name}: {fault}");
                }
            }
            // Recursion through pcall may also come back by itself.
            Ok(_) => assert!(["recursion into pcall", "deep __index"].contains(&name), "{name}"),
        }
        assert_eq!(camera.says(vec![person(0.2, 0.5, 0.9)]), "alive", "{name}");
        // The collector gets a bounded turn after each call.
        for _ in 0..100 {
            camera.says(vec![person(0.2, 0.5, 0.9)]);
        }
        assert!(camera.strategy.guest().used_memory() < 4 << 20, "{name}: {}", camera.strategy.guest().used_memory());
    }
}

#[test]
fn memory_that_a_script_hoards_between_calls_counts() {
    let mut camera = camera("hoard = {}\nfunction detect(frame)\n hoard[#hoard + 1] = buffer.create(8 * 2^20)\nend");
    let kinds: Vec<_> = (0..6).map(|_| camera.see(vec![]).map_err(|f| f.kind).err()).collect();
    let memory = Some(FaultKind::Memory);
    assert_eq!(kinds, [None, None, None, memory, None, None], "the replaced instance starts empty");
}

#[test]
fn a_filter_that_runs_away_is_stopped_like_any_call() {
    let mut camera = camera(
        "function should_process(d)\nif d.confidence < 0.5 then\nwhile true do end\nend\nreturn true\nend\nfunction detect(f) f:alert{ rule = 'alive' } end",
    );
    let (kind, message) = camera.fault(vec![person(0.2, 0.5, 0.1)]);
    assert_eq!(kind, FaultKind::Time);
    assert!(message.starts_with("scripts/x.lua:3: stopped after "), "{message}");
    assert_eq!(camera.says(vec![person(0.2, 0.5, 0.9)]), "alive");
}

#[test]
fn ten_thousand_alerts_and_additions_are_bounded() {
    let mut camera = camera(
        "function detect(f)\nif f:count() == 0 then\nfor n = 1, 10000 do f:alert{ rule = 'r', key = n } end\nelse\nfor n = 1, 10000 do f:add{ label = 'x', bbox = { 0, 0, 1, 1 } } end\nend\nend",
    );
    camera.strategy = lua::load(unhurried(script(
        "function detect(f)\nif f:count() == 0 then\nfor n = 1, 10000 do f:alert{ rule = 'r', key = n } end\nelse\nfor n = 1, 10000 do f:add{ label = 'x', bbox = { 0, 0, 1, 1 } } end\nend\nend",
    )))
    .unwrap();
    assert_eq!(camera.see(vec![]).unwrap().alerts.len(), 16);
    assert_eq!(camera.strategy.health().unwrap().alerts_dropped, 9984);
    let fault = camera.fault(vec![person(0.2, 0.5, 0.9)]);
    assert_eq!(
        fault,
        (FaultKind::Error, "scripts/x.lua:5: frame:add: more than 256 detections added in one call".into())
    );
}

#[test]
fn an_alert_stands_on_a_detection_once_whatever_its_list_says_of_itself() {
    let lists = [
        ("setmetatable({ 1 }, { __len = function() return 60000 end, __index = function() return 1 end })", 1),
        (
            "setmetatable({}, { __len = function() n = (n or 0) + 1 return n == 1 and 1 or 60000 end, __index = function() return 1 end })",
            0,
        ),
        ("setmetatable({ 2 }, { __index = function() return 1 end })", 1),
        ("{ 1, 1 }", 1),
        ("{ 2, 1 }", 2),
    ];
    for (list, behind) in lists {
        let mut camera = camera(&format!("function detect(f) f:alert{{ rule = 'r', detections = {list} }} end"));
        let verdict = camera.see(vec![person(0.2, 0.5, 0.9), person(0.6, 0.5, 0.9)]).unwrap();
        assert_eq!(verdict.alerts[0].detections.len(), behind, "{list}");
    }
    let mut camera = camera("function detect(f)\nf:alert{ rule = 'r', detections = { 1, 1, 1 } }\nend");
    let (_, said) = camera.fault(vec![person(0.2, 0.5, 0.9)]);
    assert_eq!(said, "scripts/x.lua:2: frame:alert: a list of 3 detections: this frame has 1");
}

/// With time enough that a busy machine meets the limit that the case is about.
fn unhurried(mut script: Script) -> Script {
    let time = &mut script.context.limits.call;
    (time.wall, time.hard_cpu) = (std::time::Duration::from_secs(60), std::time::Duration::from_secs(5));
    script
}

#[test]
fn what_never_finishes_loading_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let module = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    module("a.lua", "return require('b')");
    module("b.lua", "\nreturn require('a')");
    module("spin.lua", "\n\nwhile true do end");
    let refused = |text: &str, class: Option<&str>| {
        let mut script = Script { roots: vec![dir.path().into()], class: class.map(str::to_owned), ..script(text) };
        script.context.limits.load.wall = std::time::Duration::from_secs(60);
        let mut message = None;
        let spent = cpu_ms(|| message = lua::load(script).err().map(|e| e.message().to_owned()));
        assert!(spent < 2000, "{text}: {spent} ms");
        message.unwrap_or_else(|| panic!("loaded: {text}"))
    };
    let end = "\nfunction detect() end";
    assert_eq!(refused(&format!("while true do end{end}"), None), "scripts/x.lua:1: stopped after 200 ms of CPU time");
    let endless = refused(&format!("require('a'){end}"), None);
    assert!(endless.contains("b.lua:2: require: 'a' requires itself"), "{endless}");
    let spin = refused(&format!("require('spin'){end}"), None);
    assert!(spin.contains("spin.lua:3: stopped after 200 ms"), "{spin}");
    let made = refused(&format!("C = {{}}\nfunction C.new()\nwhile true do end\nend{end}"), Some("C"));
    assert_eq!(made, "scripts/x.lua:3: stopped after 200 ms of CPU time");
    let found = refused("C = setmetatable({}, { __index = function()\nwhile true do end end })", Some("C"));
    assert_eq!(found, "scripts/x.lua:2: stopped after 200 ms of CPU time");
    let hoard = refused(&format!("t = {{}} for n = 1, 1e9 do t[n] = table.create(10000, 0) end{end}"), None);
    assert!(
        hoard == "scripts/x.lua: wants more than 32 MiB of memory" || hoard.contains("stopped after 200 ms"),
        "{hoard}"
    );
}

#[test]
fn there_is_no_way_to_another_plugins_state_to_files_or_to_the_network() {
    let store = StateStore::default();
    let watchdog = Watchdog::start().unwrap();
    let of = |plugin: &str, source: &str| {
        let grants = Arc::new(Grants { has: Needs { shared_state: true, ..Needs::default() }, ..Grants::default() });
        let source = Some(SourceId::from(source));
        GuestContext::new(plugin, source, Limits::lua(), &store, Arc::clone(&watchdog)).with_grants(grants)
    };
    let text = "function detect(f) f:alert{ rule = 'r', message = tostring(state.get('k')) .. tostring(shared.get('k')) .. #state.keys() } state.set('k', 1) shared.set('k', 2) end";
    let says = |plugin: &str, source: &str| camera_of(script_of(of(plugin, source), text)).says(vec![]);
    assert_eq!(says("a", "cam"), "nilnil0");
    assert_eq!(says("a", "cam"), "121");
    assert_eq!(says("b", "cam"), "nilnil0", "another plugin's");
    assert_eq!(says("a", "gate"), "nil20", "shared over the sources of one plugin");
    for (body, message) in [
        (
            "shared.get('k')",
            "shared.get: state over all sources is not granted; ask for it with \"---@needs shared_state\" at the top of the script, and grant it",
        ),
        (
            "pixels.mean()",
            "pixels.mean: pixels are not granted; ask for them with \"---@needs pixels\" at the top of the script, and grant them",
        ),
        (
            "local _ = env.HOME",
            "env: 'HOME' is not granted; ask for it with \"---@needs env HOME\" at the top of the script, and grant it",
        ),
        (
            "files.read('/etc/passwd')",
            "files.read: '/etc/passwd' is not granted; ask for it with \"---@needs files /etc/passwd\" at the top of the script, and grant it",
        ),
        ("http.get('https://a.example/')", "attempt to index nil with 'get'"),
        ("env.HOME = 1", "attempt to modify a readonly table"),
        ("rawset(env, 'HOME', 1)", "attempt to modify a readonly table"),
        ("pixels.mean = nil", "attempt to modify a readonly table"),
        ("setmetatable(env, nil)", "cannot change a protected metatable"),
    ] {
        let mut camera = camera(&format!("function detect(f)\n{body}\nend"));
        let (kind, said) = camera.fault(vec![]);
        assert_eq!((kind, said.ends_with(message)), (FaultKind::Error, true), "{body}: {said}");
    }
    let mut camera = camera(
        "local kinds = {} for name, value in getmetatable and _G or {} do if type(value) == 'function' then table.insert(kinds, name) end end\nfunction detect(f) table.sort(kinds) f:alert{ rule = 'r', message = table.concat(kinds, ' ') } end",
    );
    let said = camera.says(vec![]);
    for name in ["load", "loadstring", "dofile", "getfenv", "setfenv", "collectgarbage", "newproxy"] {
        assert!(!said.split(' ').any(|n| n == name), "{name} in {said}");
    }
}
