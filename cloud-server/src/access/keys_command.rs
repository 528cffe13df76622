//! `msao-server keys`: makes, lists and revokes keys in a file, beside a running server or without one.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::AccessError;
use super::key::{ApiKey, Scope};
use super::keyring::{KeyFile, KeyRecord, KeyringError, unix_now_s};
use super::usage::KeyLimits;

const DAY_S: u64 = 86_400;

/// Makes, lists and revokes API keys
#[derive(Debug, Clone, Args)]
pub struct KeysCommand {
    /// The file of keys, as the server's own --keys-file
    #[arg(long, env = "MSAO_KEYS_FILE", default_value = "keys.json", global = true)]
    keys_file: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Makes a key and prints it; it is shown this once
    Create(NewKey),
    /// Lists the keys, without their secrets
    List,
    /// Withdraws a key; a running server follows within a second
    Revoke {
        /// The key's id, as `list` shows it
        id: String,
    },
}

#[derive(Debug, Clone, Args)]
struct NewKey {
    /// Who or what it is for
    #[arg(long)]
    name: String,
    /// What it may be used for
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["api", "session", "tokens"])]
    scopes: Vec<Scope>,
    /// Days until it expires; without, it lasts until it is revoked
    #[arg(long)]
    expires_days: Option<u32>,
    /// Requests and questions a minute
    #[arg(long, default_value_t = KeyLimits::default().requests_per_minute, value_parser = at_least_one())]
    requests_per_minute: u32,
    /// Requests and questions under way at a time
    #[arg(long, default_value_t = KeyLimits::default().requests_in_flight, value_parser = at_least_one())]
    requests_in_flight: u32,
    /// Sessions open at a time
    #[arg(long, default_value_t = KeyLimits::default().sessions, value_parser = at_least_one())]
    sessions: u32,
}

fn at_least_one() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

impl KeysCommand {
    /// Does what was asked for. A program may read `output`; what only people need goes to `notices`.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no such key.
    pub fn run(&self, output: &mut impl Write, notices: &mut impl Write) -> anyhow::Result<()> {
        let path = &self.keys_file;
        match &self.action {
            Action::Create(new) => {
                let (key, notice) = create(path, new)?;
                writeln!(output, "{}", key.reveal())?;
                writeln!(notices, "{notice}")?;
            }
            Action::List => list(&KeyFile::read(path)?, output)?,
            Action::Revoke { id } => {
                change(path, |file| {
                    let record = file.keys.iter_mut().find(|record| record.id == *id);
                    let record = record.ok_or_else(|| {
                        anyhow::anyhow!("there is no key {id}: `msao-server keys list` shows all")
                    })?;
                    record.revoked = true;
                    Ok(())
                })?;
                writeln!(notices, "key {id} is revoked")?;
            }
        }
        Ok(())
    }
}

fn create(path: &Path, new: &NewKey) -> anyhow::Result<(ApiKey, String)> {
    let key = ApiKey::random()?;
    let now_unix_s = unix_now_s();
    let record = KeyRecord {
        id: key.id().to_owned(),
        name: new.name.clone(),
        sha256: key.hash(),
        scopes: new.scopes.clone(),
        created_unix_s: now_unix_s,
        expires_unix_s: new.expires_days.map(|days| now_unix_s + u64::from(days) * DAY_S),
        revoked: false,
        limits: KeyLimits {
            requests_per_minute: new.requests_per_minute,
            requests_in_flight: new.requests_in_flight,
            sessions: new.sessions,
        },
    };
    change(path, |file| {
        anyhow::ensure!(
            file.keys.iter().all(|other| other.id != record.id),
            "the new key's id is taken: try again"
        );
        file.keys.push(record);
        Ok(())
    })?;
    let notice =
        format!("key {} is in {}; its secret is shown this once and kept nowhere", key.id(), path.display());
    Ok((key, notice))
}

/// Reads, changes and writes the file, one command at a time.
fn change(path: &Path, act: impl FnOnce(&mut KeyFile) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let lock_path = path.with_extension("lock");
    let failed = |source| AccessError::from(KeyringError::Io { path: lock_path.clone(), source });
    let lock = File::create(&lock_path).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let mut file = if path.exists() { KeyFile::read(path)? } else { KeyFile::default() };
    act(&mut file)?;
    Ok(file.write(path)?)
}

fn list(file: &KeyFile, output: &mut impl Write) -> std::io::Result<()> {
    let now_unix_s = unix_now_s();
    writeln!(
        output,
        "{:<10} {:<20} {:<28} {:<12} {:>8} {:>9} {:>8}",
        "id", "name", "scopes", "state", "/minute", "in flight", "sessions"
    )?;
    for record in &file.keys {
        let state = match record.expires_unix_s {
            _ if record.revoked => "revoked".to_owned(),
            Some(expires) if expires <= now_unix_s => "expired".to_owned(),
            Some(expires) => format!("{} days", (expires - now_unix_s).div_ceil(DAY_S)),
            None => "lasts".to_owned(),
        };
        let scopes = record.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(",");
        let KeyLimits { requests_per_minute, requests_in_flight, sessions } = record.limits;
        let (id, name) = (&record.id, &record.name);
        writeln!(
            output,
            "{id:<10} {name:<20} {scopes:<28} {state:<12} {requests_per_minute:>8} {requests_in_flight:>9} {sessions:>8}"
        )?;
    }
    Ok(())
}
