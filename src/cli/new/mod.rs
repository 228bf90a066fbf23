//! `dsengine new`: creates a folder with a working plugin, a test of it, and the next steps.

mod templates;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use dsengine::error::{Code, Error};
use dsengine::types::count;

use super::exit::{Exit, failed};
use super::files;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What it does: judge frames, or deliver alerts
    kind: Kind,
    /// Its name: lower-case letters, digits and hyphens
    #[arg(value_name = "NAME")]
    name: String,
    /// What it is written in
    #[arg(long, value_enum, default_value_t = Language::Lua)]
    lang: Language,
    /// Where to; by default a new folder NAME here
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What a plugin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Judges frames
    Strategy,
    /// Delivers alerts
    Handler,
}

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    /// A script, loaded as it is: nothing to build
    Lua,
    /// A component, built with cargo
    Rust,
    /// A component, built with zig or clang
    C,
    /// Later
    Js,
    /// Later
    Python,
}

/// A new plugin's files, and the next commands.
struct Template {
    files: Vec<(&'static str, &'static str)>,
    next: [String; 3],
}

pub(crate) fn run(args: &Args) -> Exit {
    let Args { kind, name, lang, dir } = args;
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !plain || !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.ends_with('-') {
        eprintln!(
            "error: the name '{name}' cannot be used\n  hint: names are lower-case letters, digits and hyphens, a letter first"
        );
        return Exit::Usage;
    }
    let dir = dir.clone().unwrap_or_else(|| PathBuf::from(name));
    let template = match template(*kind, *lang, name, &dir) {
        Ok(template) => template,
        Err(why) => {
            eprintln!("error: {why}");
            return Exit::Usage;
        }
    };
    if std::fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) || dir.is_file() {
        eprintln!(
            "error: {} is there already and not empty\n  hint: another --dir, or another name; nothing was written",
            dir.display()
        );
        return Exit::Usage;
    }
    if let Err(error) = write(&dir, name, &template.files) {
        return failed(&error);
    }
    println!("{}: {}, README.md says what each is for. Next:", dir.display(), count(template.files.len(), "file"));
    for command in &template.next {
        println!("  {command}");
    }
    Exit::Fine
}

fn template(kind: Kind, lang: Language, name: &str, dir: &Path) -> Result<Template, String> {
    let dir = dir.display();
    let test = format!("dsengine test {dir}");
    let build = format!("dsengine plugin build {dir}");
    let watch = format!("dsengine test {dir} --watch");
    Ok(match (lang, kind) {
        (Language::Lua, Kind::Strategy) => Template {
            files: templates::STRATEGY_LUA.to_vec(),
            next: [test, watch, format!("dsengine plugin bench {dir}")],
        },
        (Language::Lua, Kind::Handler) => Template {
            files: templates::HANDLER_LUA.to_vec(),
            next: [test, watch, format!("dsengine plugin check {dir}")],
        },
        (Language::Rust, kind) => {
            let own = if kind == Kind::Strategy { templates::STRATEGY_RUST } else { templates::HANDLER_RUST };
            let files = own.iter().chain(templates::SDK).copied().collect();
            Template { files, next: ["rustup target add wasm32-wasip2".to_owned(), build, test] }
        }
        (Language::C, Kind::Strategy) => Template {
            files: templates::STRATEGY_C.to_vec(),
            next: [
                format!("(cd {dir} && sh build.sh)"),
                format!("dsengine plugin build {dir}/{name}.core.wasm -o {dir}/{name}.wasm"),
                test,
            ],
        },
        (Language::C, Kind::Handler) => {
            return Err("there is no template for a handler in C\n  hint: --lang rust and --lang lua have one; the \
                        contract for bindings of your own is in wit/"
                .to_owned());
        }
        (Language::Js, _) => {
            return Err("plugins in JavaScript come later\n  hint: the runtime inside each takes 12 MB and 10 s to \
                        compile, and a call 225 µs; in Lua and Rust a call takes a few µs"
                .to_owned());
        }
        (Language::Python, _) => {
            return Err("plugins in Python come later\n  hint: the interpreter inside each takes 18 MB and 13 s to \
                        compile, and a call 85 µs; in Lua and Rust a call takes a few µs"
                .to_owned());
        }
    })
}

fn write(dir: &Path, name: &str, written: &[(&str, &str)]) -> Result<(), Error> {
    let snake = name.replace('-', "_");
    let fill = |text: &str| text.replace("{{name_snake}}", &snake).replace("{{name}}", name);
    for (file, text) in written {
        let path = dir.join(fill(file));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|e| Error::new(Code::Io, format!("{}: cannot be made: {e}", folder.display())))?;
        }
        // The SDK is copied as is: it contains no placeholders.
        let text = if file.starts_with("sdk/") { (*text).to_owned() } else { fill(text) };
        std::fs::write(&path, text).map_err(|error| files::io(&path, &error))?;
    }
    Ok(())
}
