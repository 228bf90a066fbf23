//! Where saved edits stand: one overlay file for each configuration, in the state folder.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::config::Request;

/// Characters of the digest in a file's name: enough that no two configurations of a machine share one.
const DIGEST_CHARS: usize = 16;

/// The state folder where none is named: `$XDG_STATE_HOME/dsengine`, else `~/.local/state/dsengine`. `None` where the
/// environment tells of neither.
pub fn state_dir(env: &[(String, String)]) -> Option<PathBuf> {
    let value = |name: &str| env.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value);
    let base = match value("XDG_STATE_HOME").filter(|path| Path::new(path).is_absolute()) {
        Some(path) => PathBuf::from(path),
        None => Path::new(value("HOME")?).join(".local/state"),
    };
    Some(base.join("dsengine"))
}

/// The file of the edits that were saved for what `request` loads: named after the configuration's absolute path, else
/// after the sources file's. `None` where no file is named: there is nothing that an edit could be laid over later.
pub fn overlay_file(state: &Path, request: &Request) -> Option<PathBuf> {
    let file = request.config.as_ref().or(request.sources.as_ref())?;
    // Symlinks stay: a configuration mount flips them.
    let path = std::path::absolute(request.working_dir.join(file)).ok()?;
    let digest: String =
        Sha256::digest(path.as_os_str().as_encoded_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Some(state.join(format!("overlay-{stem}-{}.yaml", &digest[..DIGEST_CHARS])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn the_state_folder_is_that_of_the_user() {
        let dir = |pairs: &[(&str, &str)]| state_dir(&env(pairs));
        assert_eq!(dir(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]), Some("/s/dsengine".into()));
        assert_eq!(dir(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]), Some("/h/.local/state/dsengine".into()));
        assert_eq!(dir(&[("HOME", "")]), None);
    }

    #[test]
    fn each_configuration_has_its_own_file() {
        let file = |config: Option<&str>, sources: Option<&str>, dir: &str| {
            let (config, sources) = (config.map(Into::into), sources.map(Into::into));
            overlay_file(Path::new("/s"), &Request { config, sources, working_dir: dir.into(), ..Request::default() })
        };
        let one = file(Some("c.yaml"), None, "/a").unwrap();
        assert_eq!(Some(&one), file(Some("/a/c.yaml"), Some("s.yaml"), "/b").as_ref());
        assert_ne!(Some(&one), file(Some("c.yaml"), None, "/b").as_ref());
        assert!(one.to_string_lossy().starts_with("/s/overlay-c-"), "{}", one.display());
        assert!(file(None, Some("s.yaml"), "/a").is_some());
        assert_eq!(file(None, None, "/a"), None);
    }
}
