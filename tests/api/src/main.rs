//! Writes what each crate offers, from rustdoc's JSON, one text per package, and checks that its signatures name only
//! the foreign crates that a list allows. `.ci/api` runs it and compares.
//!
//! `api JSON_DIR LIST OUT_DIR`

use public_api::Builder;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [json, list, out] = arguments.as_slice() else {
        return Err("usage: api JSON_DIR LIST OUT_DIR".into());
    };
    fs::create_dir_all(out)?;
    let mut complaints = Vec::new();
    for (package, allowed) in read_list(&fs::read_to_string(list)?)? {
        let library = package.replace('-', "_");
        let api = api(&json.join(&library).with_extension("json"))?;
        let used = foreign(&api, &library);
        for name in used.difference(&allowed) {
            complaints.push(format!(
                "{package} names {name} in public: see {}",
                list.display()
            ));
        }
        for name in allowed.difference(&used) {
            complaints.push(format!(
                "{package} no longer names {name}: {}",
                list.display()
            ));
        }
        fs::write(
            out.join(package).with_extension("txt"),
            api.join("\n") + "\n",
        )?;
    }
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(complaints.join("\n").into())
    }
}

/// `package: crate crate` per line; `#` begins a comment.
fn read_list(text: &str) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (package, crates) = line.split_once(':').ok_or(format!("no package: {line}"))?;
            Ok((
                package.to_owned(),
                crates.split_whitespace().map(str::to_owned).collect(),
            ))
        })
        .collect()
}

/// Items, one per line. What is derived and what the compiler finds out says little line by line; kept are which traits
/// a type derives, in one line, and what is not `Send` or `Sync`, or only sometimes.
fn api(json: &Path) -> Result<Vec<String>, public_api::Error> {
    let all = Builder::from_rustdoc_json(json).omit_blanket_impls(true);
    let written = all
        .clone()
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    let written: BTreeSet<String> = written.items().map(ToString::to_string).collect();
    let mut lines: Vec<String> = Vec::new();
    // Type to the line with its derived traits. A type with two public paths comes twice.
    let mut derived: BTreeMap<String, (usize, BTreeSet<String>)> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for line in all.build()?.into_items().map(|item| item.to_string()) {
        if !seen.insert(line.clone()) {
            continue;
        }
        match line
            .strip_prefix("impl ")
            .and_then(|rest| rest.split_once(" for "))
        {
            _ if written.contains(&line) => lines.push(line),
            Some((derives, target)) if !automatic(derives) => {
                let (_, traits) = derived.entry(target.to_owned()).or_insert_with(|| {
                    lines.push(String::new());
                    (lines.len() - 1, BTreeSet::new())
                });
                traits.insert(short(derives).to_owned());
            }
            _ if line.starts_with("impl") && tells(&line) => lines.push(line),
            _ => {}
        }
    }
    for (target, (at, traits)) in derived {
        let traits: Vec<String> = traits.into_iter().collect();
        lines[at] = format!("impl {} for {target}", traits.join(" + "));
    }
    Ok(lines)
}

/// Traits that the compiler implements by itself, and a detail of `derive(PartialEq)`.
fn automatic(name: &str) -> bool {
    let names = [
        "Freeze",
        "RefUnwindSafe",
        "Send",
        "StructuralPartialEq",
        "Sync",
        "Unpin",
        "UnsafeUnpin",
        "UnwindSafe",
    ];
    names
        .iter()
        .any(|automatic| name.ends_with(&format!("::{automatic}")))
}

/// A line about one of these, and others with conditions.
fn tells(line: &str) -> bool {
    let thread_safety =
        line.contains("core::marker::Send for ") || line.contains("core::marker::Sync for ");
    let name = line.split(" for ").next().unwrap_or_default();
    if thread_safety {
        name.contains('!') || line.contains(" where ")
    } else {
        !automatic(name)
    }
}

/// The trait without the path of a standard crate: `From<foreign::Error>` keeps what is in its brackets.
fn short(name: &str) -> &str {
    let path = name.split('<').next().unwrap_or(name);
    match path.rfind("::") {
        Some(end) if name.starts_with("core::") => &name[end + 2..],
        _ => name,
    }
}

/// The crates that begin a path somewhere, the library itself and the standard ones left out.
fn foreign(api: &[String], library: &str) -> BTreeSet<String> {
    let paths = api
        .iter()
        .flat_map(|line| line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')));
    paths
        .filter_map(|path| path.split_once("::"))
        .map(|(first, _)| first)
        .filter(|first| first.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter(|first| ![library, "alloc", "core", "std"].contains(first))
        .map(str::to_owned)
        .collect()
}
