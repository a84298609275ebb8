//! A host application to be killed. It says on standard output what was acknowledged.
//!
//! `crash-worker publish FILE URL PREFIX COUNT FULL|NORMAL PUBLISHERS` publishes; each line is
//! `acked ID SYNCS`, the last number being how many syncs were logged meanwhile (with one publisher).
//! `crash-worker drain FILE URL` waits until nothing is left to be delivered.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outpost_core::NewEvent;
use outpost_store_sqlite::Synchronous;
use outpost_tests::worker::{engine, payload, set_up};

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // The test may have stopped listening.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// How many syncs the shim has logged so far.
fn syncs() -> usize {
    let folder = std::env::var_os("OUTPOST_SHADOW").map(PathBuf::from);
    folder.and_then(|folder| std::fs::read(folder.join("log")).ok()).map_or(0, |log| log.len())
}

#[tokio::main]
async fn main() {
    let given: Vec<String> = std::env::args().collect();
    let arg = |at: usize| given.get(at).cloned().unwrap_or_default();
    let synchronous = if arg(6) == "NORMAL" { Synchronous::Normal } else { Synchronous::Full };
    let outpost = engine(&PathBuf::from(arg(2)), synchronous).await;
    set_up(&outpost, &arg(3)).await;
    if arg(1) == "publish" {
        let (prefix, count) = (arg(4), arg(5).parse::<u64>().expect("a count"));
        let publishers: u64 = arg(7).parse().expect("a number of publishers");
        let next = Arc::new(AtomicU64::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..publishers {
            let (outpost, next, prefix) = (outpost.clone(), next.clone(), prefix.clone());
            tasks.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let id = format!("{prefix}{number}");
                    let before = syncs();
                    match outpost.publish("acme", NewEvent::new("a.b", payload(&id)).id(&id)).await {
                        Ok(_) => say(&format!("acked {id} {}", syncs() - before)),
                        Err(error) => say(&format!("error {id} {:?} {error}", error.kind())),
                    }
                }
            });
        }
        while tasks.join_next().await.is_some() {}
        say("published");
    }
    if arg(1) != "hold" {
        while outpost.destinations().lane("acme", "main").await.expect("a lane").open > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert!(outpost.shutdown(Duration::from_secs(10)).await, "it stops in good order");
    say("done");
}
