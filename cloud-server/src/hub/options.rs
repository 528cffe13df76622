//! Where the hub is, where its files are kept, and who asks: flags, and the variables that all of the hub's tools know.

use std::env;
use std::fmt::{self, Debug, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use url::Url;

use super::error::HubError;

const PUBLIC_HUB: &str = "https://huggingface.co";
/// A token is some forty characters; a file of more is none.
const MAX_TOKEN_BYTES: u64 = 4 << 10;

/// What an operator can set about the hub.
#[derive(Debug, Clone, Default, Args)]
pub struct HubOptions {
    /// Address of the hub or of a mirror; HF_ENDPOINT, then https://huggingface.co, unless given
    #[arg(long, env = "MSAO_HUB_ENDPOINT", value_name = "URL")]
    pub hub_endpoint: Option<String>,
    /// Folder that files of the hub are kept in, shared with its Python tools; HF_HUB_CACHE, HF_HOME/hub, then
    /// ~/.cache/huggingface/hub, unless given
    #[arg(long, env = "MSAO_HUB_CACHE", value_name = "FOLDER")]
    pub hub_cache: Option<PathBuf>,
    /// Never ask the hub: take what is in the cache; HF_HUB_OFFLINE=1 says the same
    #[arg(long, env = "MSAO_HUB_OFFLINE")]
    pub hub_offline: bool,
}

/// The same, as it is in force.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Address of the hub.
    pub endpoint: Url,
    /// The cache's folder.
    pub cache: PathBuf,
    /// Whether the hub may not be asked.
    pub is_offline: bool,
    /// Sent to the hub itself, and to nobody whom it points to.
    pub token: Option<Token>,
    /// How often and how long to try.
    pub patience: Patience,
}

/// A secret that no message and no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token; `None` for blanks.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl Debug for Token {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(..)")
    }
}

/// How long failures are put up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Attempts without progress before giving up.
    pub attempts: u32,
    /// Before the second attempt; doubled before each further one, up to half a minute.
    pub first_pause: Duration,
    /// For the hub to say anything.
    pub silence: Duration,
    /// Longest pause that the hub may ask for.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_pause: Duration::from_millis(500),
            silence: Duration::from_secs(30),
            longest_pause: Duration::from_secs(120),
        }
    }
}

impl HubOptions {
    /// What is in force: flags, else the hub's variables, else its defaults.
    ///
    /// # Errors
    /// [`HubError::Endpoint`] or [`HubError::NoCache`].
    pub fn settings(&self) -> Result<HubSettings, HubError> {
        self.settings_with(&|name| env::var(name).ok().filter(|value| !value.trim().is_empty()))
    }

    fn settings_with(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<HubSettings, HubError> {
        let address = self.hub_endpoint.clone().or_else(|| variable("HF_ENDPOINT"));
        let home = home(variable);
        let cache = self
            .hub_cache
            .clone()
            .or_else(|| {
                variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE")).map(PathBuf::from)
            })
            .or_else(|| home.as_ref().map(|home| home.join("hub")))
            .ok_or(HubError::NoCache)?;
        let is_on = |name: &str| variable(name).is_some_and(|value| is_true(&value));
        let token =
            if is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN") { None } else { token(variable, home.as_deref()) };
        Ok(HubSettings {
            endpoint: endpoint(address.as_deref().unwrap_or(PUBLIC_HUB))?,
            cache,
            is_offline: self.hub_offline || is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE"),
            token,
            patience: Patience::default(),
        })
    }
}

/// The folder of all that the hub's tools keep.
fn home(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let below = |folder: String| PathBuf::from(folder).join("huggingface");
    variable("HF_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("XDG_CACHE_HOME").map(below))
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache/huggingface")))
}

fn token(variable: &dyn Fn(&str) -> Option<String>, home: Option<&Path>) -> Option<Token> {
    if let Some(token) = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN")) {
        return Token::new(&token);
    }
    let path =
        variable("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| home.map(|home| home.join("token")))?;
    let is_small = fs::metadata(&path).is_ok_and(|file| file.len() <= MAX_TOKEN_BYTES);
    is_small.then(|| fs::read_to_string(&path).ok()).flatten().and_then(|text| Token::new(&text))
}

fn endpoint(address: &str) -> Result<Url, HubError> {
    let invalid = || HubError::Endpoint(address.rsplit('@').next().unwrap_or_default().to_owned());
    let mut url = Url::parse(address.trim_end_matches('/')).map_err(|_error| invalid())?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !matches!(url.scheme(), "http" | "https") || !is_plain || !url.has_host() || url.fragment().is_some() {
        return Err(invalid());
    }
    // What is asked for is joined behind it.
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

/// What the hub's tools take for yes.
fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(options: &HubOptions, variables: &[(&str, &str)]) -> Result<HubSettings, HubError> {
        options.settings_with(&|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_cache_is_where_the_hubs_own_tools_have_it() {
        let flag = HubOptions { hub_cache: Some("/flag".into()), ..HubOptions::default() };
        let all = [("HF_HUB_CACHE", "/a"), ("HF_HOME", "/b"), ("XDG_CACHE_HOME", "/c"), ("HOME", "/d")];
        let folder = |options: &HubOptions, from: usize| settings(options, &all[from..]).unwrap().cache;
        assert_eq!(folder(&flag, 0), Path::new("/flag"));
        let expected = ["/a", "/b/hub", "/c/huggingface/hub", "/d/.cache/huggingface/hub"];
        for (from, expected) in expected.iter().enumerate() {
            assert_eq!(folder(&HubOptions::default(), from), Path::new(expected));
        }
        assert!(matches!(settings(&HubOptions::default(), &[]), Err(HubError::NoCache)));
    }

    #[test]
    fn a_token_comes_from_its_variable_or_its_file_and_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "from-file\n").unwrap();
        let home = folder.path().to_str().unwrap();
        let token = |more: &[(&str, &str)]| {
            let variables = [&[("HF_HOME", home)], more].concat();
            settings(&HubOptions::default(), &variables).unwrap().token
        };
        assert_eq!(token(&[]), Token::new("from-file"));
        assert_eq!(token(&[("HF_TOKEN", " secret ")]), Token::new("secret"));
        assert_eq!(token(&[("HF_TOKEN", "secret"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        let shown = format!("{:?}", settings(&HubOptions::default(), &[("HF_HOME", home)]).unwrap());
        assert!(!shown.contains("from-file"), "{shown}");
    }

    #[test]
    fn the_hubs_address_is_plain() {
        let of = |address| {
            settings(
                &HubOptions { hub_endpoint: Some(String::from(address)), ..HubOptions::default() },
                &[("HOME", "/h")],
            )
        };
        assert_eq!(of("http://127.0.0.1:9/mirror/").unwrap().endpoint.as_str(), "http://127.0.0.1:9/mirror/");
        for address in ["huggingface.co", "ftp://a", "https://me:secret@a", "https://a?b", "https://"] {
            let error = of(address).err().unwrap().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let offline = settings(&HubOptions::default(), &[("HOME", "/h"), ("HF_HUB_OFFLINE", "1")]).unwrap();
        assert!(offline.is_offline && offline.endpoint.as_str() == "https://huggingface.co/");
    }
}
