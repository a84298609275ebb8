//! The two secrets of an application with Outpost, each in a file beside the database. A real host keeps them where it
//! keeps its other secrets: who has the files can read everything, and enter the portal as anybody.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use outpost_core::{KeyRing, SealingKey};

use crate::Anything;

/// What is kept in the files.
pub(crate) struct Keys {
    /// Seals what is secret in the database.
    pub(crate) ring: KeyRing,
    /// Signs links into the portal and its sessions.
    pub(crate) tokens: String,
    /// Where the first one is.
    pub(crate) file: PathBuf,
    /// It was made now.
    pub(crate) made: bool,
}

/// The secrets beside the database `store`, made on the first run.
pub(crate) fn beside(store: &str) -> Anything<Keys> {
    let (text, file, made) = secret(Path::new(store).with_extension("key"))?;
    let key = SealingKey::from_text(&text).map_err(|problem| format!("{}: {problem}", file.display()))?;
    let (tokens, ..) = secret(Path::new(store).with_extension("tokens.key"))?;
    Ok(Keys { ring: KeyRing::new(key), tokens, file, made })
}

fn secret(path: PathBuf) -> Anything<(String, PathBuf, bool)> {
    let made = !path.exists();
    if made {
        make(&path)?;
    }
    Ok((std::fs::read_to_string(&path)?, path, made))
}

/// 32 random bytes in hexadecimal digits, in a file that only its owner may read.
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
