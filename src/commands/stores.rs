//! From settings to stores: each URL becomes a store of its kind. Nothing is connected here.

use std::path::PathBuf;
use std::sync::Arc;

use crate::commands::confined::Confined;
use crate::error::Failure;
use crate::error::Kind;
use crate::settings::Settings;
use crate::settings::StoreSetting;
use crate::store::Deadlines;
use crate::store::Store;
use crate::store::file::FileStore;
use crate::store::redis::RedisAddress;
use crate::store::redis::RedisOptions;
use crate::store::redis::RedisStore;

/// The largest file of authorities that is read, in bytes.
const AUTHORITY_LENGTH_MAX: u64 = 4 * 1024 * 1024;

/// The stores of this run, in the order in which they were named.
///
/// # Errors
/// Where none is configured, an address cannot be meant, or the authority's file cannot be read.
pub fn open(settings: &Settings) -> Result<Vec<Arc<dyn Store>>, Failure> {
    let stores = settings.required_stores()?;
    let options = redis_options(settings)?;
    let opened = stores.iter().map(|store| open_one(store, &options));
    match &settings.confined_to {
        None => opened.collect(),
        Some(prefix) => opened.map(|store| Ok(Arc::new(Confined::new(store?, prefix)) as Arc<dyn Store>)).collect(),
    }
}

fn open_one(setting: &StoreSetting, options: &RedisOptions) -> Result<Arc<dyn Store>, Failure> {
    let url = setting.url.expose();
    if let Some(path) = url.strip_prefix("file://") {
        return Ok(Arc::new(FileStore::new(setting.label.clone(), PathBuf::from(path))));
    }
    let address = RedisAddress::parse(&format!("{}={url}", setting.label)).map_err(|error| {
        Failure::usage(format!("the store {} cannot be meant", setting.label)).cause(error.to_string())
    })?;
    Ok(Arc::new(RedisStore::new(address, options.clone())))
}

fn redis_options(settings: &Settings) -> Result<RedisOptions, Failure> {
    let deadlines = Deadlines { connect: settings.timeout, answer: settings.timeout };
    let redis = &settings.redis;
    Ok(RedisOptions {
        username: redis.user.clone(),
        password: redis.password.as_ref().map(|password| password.expose().to_owned()),
        database: redis.database.map(i64::from),
        authority_pem: redis.authority.as_ref().map(authority).transpose()?,
        ..RedisOptions::new(deadlines)
    })
}

/// The authority of `rediss://` servers, in PEM.
///
/// # Errors
/// Where the file cannot be read, or cannot be one.
pub fn authority(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    let failed = |problem: String| {
        Failure::new(Kind::Usage, format!("the authority of rediss:// servers, {}, cannot be read", path.display()))
            .cause(problem)
    };
    let length = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if length > AUTHORITY_LENGTH_MAX {
        return Err(failed(format!("it has {length} bytes, which no list of authorities has")));
    }
    std::fs::read(path).map_err(|error| failed(error.to_string()))
}
