//! Editor types for scripts, generated from the contract in `wit/`: values with their fields and words come from it;
//! functions, which have a shape of their own in Lua, from a table that names the one each mirrors. `BLESS=1` rewrites
//! the committed files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use wit_parser::{Docs, InterfaceId, Resolve, Type, TypeDefKind, TypeId};

mod functions;

use functions::{FUNCTIONS, Function, HEAD, NOT_FUNCTIONS, RECORDS, Record};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The contract.
struct Wit {
    resolve: Resolve,
    interfaces: BTreeMap<String, InterfaceId>,
}

impl Wit {
    fn read() -> Self {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(root().join("wit")).unwrap();
        let interfaces = resolve.packages[package].interfaces.iter().map(|(name, id)| (name.clone(), *id)).collect();
        Self { resolve, interfaces }
    }

    /// Every function, `state.get` or `pixels.image.mean`, with its words.
    fn functions(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        for (interface, id) in &self.interfaces {
            for (name, function) in &self.resolve.interfaces[*id].functions {
                let name = name.strip_prefix("[method]").unwrap_or(name);
                out.insert(format!("{interface}.{name}"), words(&function.docs));
            }
        }
        out
    }

    /// What a record of ours is made of, and its words; nothing where only Lua has it.
    fn kind(&self, record: &Record) -> Option<(&TypeDefKind, String)> {
        let (interface, name) = record.wit.split_once('.')?;
        let id = self.resolve.interfaces[self.interfaces[interface]].types[name];
        Some((&self.resolve.types[id].kind, words(&self.resolve.types[id].docs)))
    }

    /// A type in the editor's words.
    fn lua(&self, ty: &Type) -> String {
        match ty {
            Type::Bool => "boolean".into(),
            Type::String => "string".into(),
            Type::F32 | Type::F64 => "number".into(),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::S32 | Type::S64 => "integer".into(),
            Type::Id(id) => self.lua_of(*id),
            other => panic!("no word for {other:?}"),
        }
    }

    fn lua_of(&self, id: TypeId) -> String {
        let def = &self.resolve.types[id];
        match &def.kind {
            TypeDefKind::Type(inner) => self.lua(inner),
            TypeDefKind::Option(inner) => format!("{}?", self.lua(inner)),
            TypeDefKind::List(Type::U8) => "string".into(),
            TypeDefKind::List(inner) => match self.lua(inner).as_str() {
                // Named values are fields of a table.
                "Attribute" => "table<string, boolean | number | string>".into(),
                "pair" => "table<string, string>".into(),
                inner => format!("{inner}[]"),
            },
            TypeDefKind::Tuple(_) => "pair".into(),
            TypeDefKind::Record(_) | TypeDefKind::Enum(_) => {
                let name = def.name.as_deref().unwrap();
                let record = RECORDS.iter().find(|r| r.wit.ends_with(&format!(".{name}")));
                record.map_or_else(|| pascal(name), |r| r.lua.to_owned())
            }
            other => panic!("no word for {other:?}"),
        }
    }
}

fn words(docs: &Docs) -> String {
    docs.contents.as_deref().unwrap_or_default().trim().replace('\n', " ")
}

fn pascal(name: &str) -> String {
    name.split('-').map(|part| part[..1].to_uppercase() + &part[1..]).collect()
}

/// One value's fields: name, type, whether it may be left out, words.
fn fields(wit: &Wit, record: &Record) -> Vec<(String, String, String)> {
    let mut out = Vec::new();
    if let Some((TypeDefKind::Record(definition), _)) = wit.kind(record) {
        for field in &definition.fields {
            let plain = field.name.replace('-', "_");
            match record.other.iter().find(|(from, ..)| *from == plain) {
                Some((_, "", ..)) => {}
                Some((_, name, ty, doc)) => {
                    let doc = if doc.is_empty() { words(&field.docs) } else { (*doc).to_owned() };
                    out.push(((*name).to_owned(), (*ty).to_owned(), doc));
                }
                None => out.push((plain, wit.lua(&field.ty), words(&field.docs))),
            }
        }
    }
    for (_, name, ty, doc) in record.other.iter().filter(|(from, ..)| from.is_empty()) {
        out.push(((*name).to_owned(), (*ty).to_owned(), (*doc).to_owned()));
    }
    out
}

fn cases(wit: &Wit, record: &Record) -> Option<Vec<String>> {
    match wit.kind(record)?.0 {
        TypeDefKind::Enum(definition) => Some(definition.cases.iter().map(|c| format!("\"{}\"", c.name)).collect()),
        _ => None,
    }
}

fn wrap(out: &mut String, prefix: &str, text: &str) {
    for paragraph in text.lines() {
        let mut line = prefix.to_owned();
        for word in paragraph.split_whitespace() {
            if line.len() > prefix.len() && line.len() + word.len() > 118 {
                let _ = writeln!(out, "{}", line.trim_end());
                line = prefix.to_owned();
            }
            line += word;
            line.push(' ');
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// What a function is for: its own words, or the contract's.
fn purpose(function: &Function, theirs: &BTreeMap<String, String>) -> String {
    if function.doc.is_empty() { theirs[function.mirrors].clone() } else { function.doc.to_owned() }
}

/// `scripts/types/dsengine.lua`, for the Lua language server.
fn luals(wit: &Wit) -> String {
    let theirs = wit.functions();
    let mut out = String::from("---@meta dsengine\n");
    for line in HEAD.trim_start().lines() {
        let _ = writeln!(out, "{}", format!("-- {line}").trim_end());
    }
    for record in RECORDS {
        out.push('\n');
        let doc = if record.doc.is_empty() { wit.kind(record).unwrap().1 } else { record.doc.to_owned() };
        wrap(&mut out, "---", &doc);
        if let Some(cases) = cases(wit, record) {
            let _ = writeln!(out, "---@alias {} {}", record.lua, cases.join(" | "));
            continue;
        }
        let _ = writeln!(out, "---@class {}", record.lua);
        for (name, ty, doc) in fields(wit, record) {
            let (name, ty) = match ty.strip_suffix('?') {
                Some(ty) => (format!("{name}?"), ty.to_owned()),
                None => (name, ty),
            };
            wrap(&mut out, "", &format!("---@field {name} {ty} {doc}"));
        }
        for line in record.raw {
            let _ = writeln!(out, "---{line}");
        }
        if FUNCTIONS.iter().any(|f| f.name.starts_with(&format!("{}:", record.lua))) {
            let _ = writeln!(out, "local {} = {{}}", record.lua);
        }
    }
    let mut open = BTreeSet::new();
    for function in FUNCTIONS {
        out.push('\n');
        if let Some((table, _)) = function.name.split_once('.')
            && open.insert(table)
        {
            let doc = functions::TABLES.iter().find(|(name, _)| *name == table).unwrap().1;
            wrap(&mut out, "---", doc);
            let _ = writeln!(out, "---@class {table}\n{table} = {{}}\n");
        }
        wrap(&mut out, "---", &purpose(function, &theirs));
        for (name, ty, doc) in function.params {
            let (name, ty) = match ty.strip_suffix('?') {
                Some(ty) => (format!("{name}?"), ty),
                None => ((*name).to_owned(), *ty),
            };
            wrap(&mut out, "", &format!("---@param {name} {ty} {doc}"));
        }
        for returned in function.returns {
            let _ = writeln!(out, "---@return {returned}");
        }
        let params: Vec<_> = function.params.iter().map(|(name, ..)| *name).collect();
        let _ = writeln!(out, "function {}({}) end", function.name, params.join(", "));
    }
    out.push_str("\n---The plugin's own block of the configuration. Read-only.\n---@type table\nconfig = {}\n");
    out.push_str("\n---The configuration's `extensions`, the same for every script. Read-only.\n---@type table\nextensions = {}\n");
    out.push_str("\n---The environment variables that were asked for and granted. Another name is an error.\n");
    out.push_str("---@type table<string, string>\nenv = {}\n");
    out
}

/// The type at the start of `table<string, number> by name`: up to the first blank that is not within one.
fn kind(returned: &str) -> &str {
    let end = if returned.starts_with("table<") { returned.find('>').map(|at| at + 1) } else { returned.find(' ') };
    &returned[..end.unwrap_or(returned.len())]
}

/// A type of the Lua language server, in Luau.
fn luau(ty: &str) -> String {
    let ty = ty.trim();
    if let Some(inner) = ty.strip_suffix('?') {
        let inner = luau(inner);
        return if inner.contains(" | ") && !inner.starts_with('{') {
            format!("({inner})?")
        } else {
            format!("{inner}?")
        };
    }
    if ty.contains(" | ") && !ty.starts_with("table<") {
        return ty.split(" | ").map(luau).collect::<Vec<_>>().join(" | ");
    }
    if let Some(inner) = ty.strip_suffix("[]") {
        return format!("{{{}}}", luau(inner));
    }
    if let Some(inner) = ty.strip_prefix("table<").and_then(|t| t.strip_suffix('>')) {
        let (key, value) = inner.split_once(", ").unwrap();
        return format!("{{[{}]: {}}}", luau(key), luau(value));
    }
    match ty {
        "integer" => "number".into(),
        "table" => "{[string]: any}".into(),
        other => other.into(),
    }
}

/// `scripts/types/dsengine.d.luau`, for Luau's own tools.
fn definitions(wit: &Wit) -> String {
    let theirs = wit.functions();
    let mut out = String::from(
        "--!strict\n-- What a dsengine script can call, for tools that know Luau. Not loaded by the engine. See dsengine.lua for more.\n",
    );
    let signature = |function: &Function, of: Option<&str>| {
        let own = of.map(|of| format!("self: {of}"));
        let params = function.params.iter().map(|(name, ty, _)| match *name {
            "..." => "...any".to_owned(),
            name => format!("{name}: {}", luau(ty)),
        });
        let params: Vec<_> = own.into_iter().chain(params).collect();
        let returned: Vec<_> = function.returns.iter().map(|r| luau(kind(r))).collect();
        let returned = if returned.len() == 1 { returned[0].clone() } else { format!("({})", returned.join(", ")) };
        format!("({}) -> {returned}", params.join(", "))
    };
    for record in RECORDS {
        out.push('\n');
        if let Some(cases) = cases(wit, record) {
            let _ = writeln!(out, "export type {} = {}", record.lua, cases.join(" | "));
            continue;
        }
        let _ = writeln!(out, "export type {} = {{", record.lua);
        for (name, ty, doc) in fields(wit, record) {
            let _ = writeln!(out, "    --- {doc}");
            let _ = writeln!(out, "    {name}: {},", luau(&ty));
        }
        for function in FUNCTIONS {
            if let Some((of, name)) = function.name.split_once(':')
                && of == record.lua
            {
                wrap(&mut out, "    --- ", &purpose(function, &theirs));
                let _ = writeln!(out, "    {name}: {},", signature(function, Some(of)));
            }
        }
        if record.lua == "Selection" {
            let _ = writeln!(out, "    [number]: number,");
        }
        out.push_str("}\n");
    }
    for (table, doc) in functions::TABLES {
        let _ = writeln!(out, "\n--- {doc}\ndeclare {table}: {{");
        for function in FUNCTIONS {
            if let Some((of, name)) = function.name.split_once('.')
                && of == *table
            {
                wrap(&mut out, "    --- ", &purpose(function, &theirs));
                let _ = writeln!(out, "    {name}: {},", signature(function, None));
            }
        }
        out.push_str("}\n");
    }
    out.push_str("\n--- The plugin's own block of the configuration. Read-only.\ndeclare config: {[string]: any}\n");
    out.push_str(
        "\n--- The configuration's `extensions`, the same for every script. Read-only.\n\
         declare extensions: {[string]: any}\n",
    );
    out.push_str(
        "\n--- The environment variables that were asked for and granted.\ndeclare env: {[string]: string?}\n",
    );
    out
}

fn generated(wit: &Wit) -> [(PathBuf, String); 2] {
    let types = root().join("scripts/types");
    [(types.join("dsengine.lua"), luals(wit)), (types.join("dsengine.d.luau"), definitions(wit))]
}

#[test]
fn the_editor_types_are_what_the_contract_says() {
    let bless = std::env::var_os("BLESS").is_some();
    for (path, text) in generated(&Wit::read()) {
        if bless {
            std::fs::write(&path, &text).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = there.lines().zip(text.lines()).position(|(a, b)| a != b);
        assert!(there == text, "{} differs from the contract at line {differs:?}; BLESS=1 rewrites it", path.display());
    }
}

#[test]
fn every_function_of_the_contract_has_its_counterpart_in_lua() {
    let theirs: BTreeSet<String> = Wit::read().functions().into_keys().collect();
    let mirrored: BTreeSet<String> = FUNCTIONS
        .iter()
        .map(|f| f.mirrors)
        .chain(NOT_FUNCTIONS.iter().map(|(name, _)| *name))
        .filter(|m| !m.is_empty())
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = theirs.difference(&mirrored).collect();
    assert!(missing.is_empty(), "functions of the contract without a counterpart in Lua: {missing:?}");
    let stale: Vec<_> = mirrored.difference(&theirs).collect();
    assert!(stale.is_empty(), "counterparts of functions that the contract has not: {stale:?}");
}

#[test]
fn the_editor_types_can_be_read_by_the_language_they_are_for() {
    let lua = mlua::Lua::new();
    let [(_, luals), (_, definitions)] = generated(&Wit::read());
    lua.load(luals).into_function().unwrap();
    // `declare x: T` is for definition files only; the types are those of any program.
    let program: String = definitions
        .lines()
        .map(|line| match line.strip_prefix("declare ").and_then(|rest| rest.split_once(": ")) {
            Some((name, ty)) => format!("type declared_{name} = {ty}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    lua.load(program).into_function().unwrap();
}

/// Tables that only handlers or only strategies have.
const OF_ONE_ROLE: [&str; 5] = ["http", "picture", "zones", "tracks", "pixels"];

/// Every function of the tables of globals, as a script finds them.
fn offered(role: &str, mut told: impl FnMut(&str) -> String) -> BTreeSet<String> {
    let tables: Vec<_> = functions::TABLES
        .iter()
        .map(|(name, _)| *name)
        .filter(|t| ["http", "picture"].contains(t) == (role == "handler") || !OF_ONE_ROLE.contains(t))
        .filter(|t| role == "strategy" || !["zones", "tracks", "pixels"].contains(t))
        .collect();
    let list: Vec<_> = tables.iter().map(|t| format!("{t} = {t}")).collect();
    let body = format!(
        "local said = {{}} for name, t in {{ {} }} do for key, f in t do if type(f) == 'function' then table.insert(said, name .. '.' .. key) end end end",
        list.join(", ")
    );
    told(&body).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_api_has_what_the_editor_types_describe_and_nothing_else() {
    let mut has = offered("strategy", |body| {
        let text =
            format!("function detect(frame) {body} frame:alert{{ rule = 'r', message = table.concat(said, ' ') }} end");
        crate::lua::camera(&text).says(vec![])
    });
    has.extend(offered("handler", |body| {
        let text = format!("function handle_alert(alert) {body} return false, table.concat(said, ' ') end");
        crate::lua_handlers::deliver(&text).unwrap_err().message
    }));
    let says: BTreeSet<String> =
        FUNCTIONS.iter().map(|f| f.name).filter(|name| name.contains('.')).map(str::to_owned).collect();
    assert_eq!(has, says);
    let frame = std::fs::read_to_string(root().join("src/lua/frame.luau")).unwrap();
    for class in ["Frame", "Track", "Selection"] {
        let names = |lines: Vec<&str>| -> BTreeSet<String> { lines.into_iter().map(str::to_owned).collect() };
        let start = format!("function {class}.");
        let has = names(frame.lines().filter_map(|l| l.strip_prefix(&start)?.split('(').next()).collect());
        let start = format!("{class}:");
        let says = names(FUNCTIONS.iter().filter_map(|f| f.name.strip_prefix(&start)).collect());
        assert!(!has.is_empty());
        assert_eq!(has, says, "{class}");
    }
}
