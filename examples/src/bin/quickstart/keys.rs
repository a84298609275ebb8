//! The key that seals what is secret in the database.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use outpost_core::{KeyRing, SealingKey};

use crate::Anything;

/// The key beside the database, made on the first run. A real host keeps it where it keeps its other secrets,
/// apart from the database.
pub(crate) fn beside(store: &str) -> Anything<(KeyRing, PathBuf)> {
    let path = Path::new(store).with_extension("key");
    if !path.exists() {
        make(&path)?;
    }
    let text = std::fs::read_to_string(&path)?;
    Ok((KeyRing::new(SealingKey::from_text(text.trim())?), path))
}

fn make(path: &Path) -> Anything<()> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| error.to_string())?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())?;
    Ok(())
}
