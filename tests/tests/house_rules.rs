//! The house rules, as tests: layers, file sizes, banned calls, dependency trees, licences.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target" && name != ".git") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("readable")
}

/// Code without comments and without the test module at its end.
fn code(path: &Path) -> String {
    let text = read(path);
    let text = text.split("#[cfg(test)]\n#[allow").next().unwrap_or(&text);
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The core's rows. A file uses its own row and the rows above.
const ROWS: [&str; 7] = ["values", "domain", "engine", "ports", "adapters", "runtime", "facade"];
/// Engine and ports speak of each other's values: decisions are made over what the store's requests hold,
/// and a request holds the engine's records. Both are pure but for the traits' async methods.
const ALLOWED: [(&str, &str); 1] = [("engine", "ports")];

#[test]
fn in_the_core_arrows_point_upwards_only() {
    let source = root().join("outpost-core/src");
    let mut wrong = Vec::new();
    for (row, name) in ROWS.iter().enumerate() {
        for file in sources(&source.join(name)) {
            let text = code(&file);
            for below in &ROWS[row + 1..] {
                if text.contains(&format!("crate::{below}::")) && !ALLOWED.contains(&(name, below)) {
                    wrong.push(format!("{} uses {below}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_upper_rows_do_no_io_and_read_no_clock() {
    let banned =
        ["tokio::", "hyper", "SystemTime", "Instant::now", "std::fs", "std::net::Tcp", "rusqlite", "getrandom"];
    let mut wrong = Vec::new();
    for row in &ROWS[..3] {
        for file in sources(&root().join("outpost-core/src").join(row)) {
            let text = code(&file);
            wrong.extend(
                banned.iter().filter(|word| text.contains(*word)).map(|word| format!("{} uses {word}", file.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_global_is_installed_or_read() {
    let banned = ["std::env::var", "install_default", "set_hook", "static mut"];
    let mut wrong = Vec::new();
    for part in ["outpost-core/src", "outpost-store-sqlite/src", "outpost-portal/src"] {
        for file in sources(&root().join(part)) {
            if file.components().any(|part| part.as_os_str() == "conformance") {
                continue;
            }
            let text = code(&file);
            wrong.extend(
                banned.iter().filter(|word| text.contains(*word)).map(|word| format!("{} uses {word}", file.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_are_of_a_size_that_can_be_read() {
    let mut sizes: Vec<(usize, PathBuf)> =
        sources(&root()).into_iter().map(|file| (read(&file).lines().count(), file)).collect();
    sizes.sort();
    let (longest, file) = sizes.last().expect("files");
    assert!(*longest <= 900, "{} has {longest} lines", file.display());
    let median = sizes[sizes.len() / 2].0;
    assert!(median <= 300, "half of the files have more than {median} lines");
}

fn tree(arguments: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let out = Command::new(cargo).current_dir(root()).args(arguments).output().expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

fn crates_of(package: &str, more: &[&str]) -> BTreeSet<String> {
    let mut arguments = vec!["tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}"];
    arguments.extend(more);
    tree(&arguments).lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn a_store_pulls_in_no_http_and_the_bare_core_no_network() {
    for (package, banned) in [
        ("outpost-store-sqlite", ["hyper", "rustls", "tokio-rustls", "maud", "axum"].as_slice()),
        ("outpost-core", ["rusqlite", "axum", "openssl", "native-tls", "aws-lc-rs", "jsonwebtoken"].as_slice()),
        ("outpost-portal", ["axum", "hyper", "hyper-util", "rustls", "rusqlite", "openssl"].as_slice()),
    ] {
        let crates = crates_of(package, &[]);
        let found: Vec<&&str> = banned.iter().filter(|name| crates.contains(**name)).collect();
        assert!(found.is_empty(), "{package} pulls in {found:?}");
    }
    let bare = crates_of("outpost-core", &["--no-default-features"]);
    assert!(!bare.contains("hyper") && !bare.contains("rustls"), "{bare:?}");
}

#[test]
fn every_dependency_has_a_licence_that_allows_our_own() {
    // Each of these may be combined with MIT or Apache-2.0; the last one covers the root certificates' list.
    let fine = [
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "Unlicense",
        "0BSD",
        "CC0-1.0",
        "Unicode-3.0",
        "BSL-1.0",
        "MIT-0",
        "Apache-2.0 WITH LLVM-exception",
        "CDLA-Permissive-2.0",
    ];
    let metadata: serde_json::Value =
        serde_json::from_str(&tree(&["metadata", "--locked", "--format-version", "1", "--all-features"]))
            .expect("JSON");
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let licence = package["license"].as_str().unwrap_or("none");
        // `A OR B` is fine when one side is; `A AND B` when both are. The old slash means OR.
        let licence = licence.replace('/', " OR ").replace(['(', ')'], "");
        let allowed = licence.split(" AND ").all(|all| all.split(" OR ").any(|one| fine.contains(&one.trim())));
        if !allowed {
            wrong.push(format!("{}: {licence}", package["name"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn versions_are_pinned_once_and_none_is_a_prerelease() {
    let lock = read(&root().join("Cargo.lock"));
    let prereleases: Vec<&str> = lock
        .lines()
        .filter(|line| {
            line.starts_with("version = ")
                && (line.contains("-alpha") || line.contains("-beta") || line.contains("-rc") || line.contains("-dev"))
        })
        .collect();
    assert!(prereleases.is_empty(), "{prereleases:?}");
    for manifest in ["outpost-core", "outpost-store-sqlite", "outpost-portal", "examples", "benches", "tests"] {
        let text = read(&root().join(manifest).join("Cargo.toml"));
        let mut section = "";
        for line in text.lines() {
            if line.starts_with('[') {
                section = line;
            }
            if section.contains("dependencies") && line.contains(" = \"") {
                panic!("{manifest}: {line} names a version; pin it in the workspace");
            }
        }
    }
}

#[test]
fn the_portal_names_no_store_and_knows_paths_in_one_place() {
    let mut wrong = Vec::new();
    for file in sources(&root().join("outpost-portal/src")) {
        let text = code(&file);
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        // What is written by hand into a page would not be under the mount, or would need what the policy forbids.
        for banned in ["outpost_store", "href=\"/", "action=\"/", "style=", " onclick", "PreEscaped"] {
            // Links escape themselves; a transport's icon is the operator's own code.
            let allowed = banned == "PreEscaped" && ["route.rs", "create.rs"].contains(&name.as_str());
            if text.contains(banned) && !allowed {
                wrong.push(format!("{} has {banned}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
