//! Reading the environment, `.env` and the file.

use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt, path::Path};

use super::*;

fn gather(folder: &Path, config: Option<&str>, env: &[(&str, &[u8])]) -> Result<Inputs, Errors> {
    let var = |name: &str| {
        let (_, value) = env.iter().find(|(own, _)| *own == name)?;
        Some(OsString::from_vec(value.to_vec()))
    };
    let config = config.map(|name| folder.join(name));
    Inputs::gather_from(var, folder, config.as_deref(), vec![("listen", ":1".to_owned())])
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"))
}

fn write(folder: &tempfile::TempDir, name: &str, text: &str) {
    fs::write(folder.path().join(name), text).unwrap_or_else(|error| panic!("{error}"));
}

fn message(result: Result<Inputs, Errors>, folder: &tempfile::TempDir) -> String {
    let text = result.err().map_or_else(|| "nothing".to_owned(), |errors| errors.to_string());
    text.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn reads_everything() {
    let folder = folder();
    write(&folder, "s.toml", "upstream.url = \"http://h\"");
    write(
        &folder,
        ".env",
        "\u{feff}CACHE_NAMESPACE=dotenv # a remark\nexport REDIS_URL='redis://:p$w@h'\r\nOTHER=\"x y\"\nBROKEN=a b\n",
    );
    let inputs = gather(folder.path(), Some("s.toml"), &[("LOG_LEVEL", b"ERROR"), ("HOME", b"/")]);
    let inputs = inputs.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(inputs.flags, [("listen", ":1".to_owned())]);
    assert_eq!(inputs.env, [("LOG_LEVEL".to_owned(), "ERROR".to_owned())]);
    let config = load(&inputs).unwrap_or_else(|errors| panic!("{errors}")).config;
    assert_eq!(config.listen.tcp().map(|address| address.port()), Some(1));
    assert_eq!((config.log.level, config.store.namespace.as_str()), (LogLevel::Error, "dotenv"));
    assert_eq!(config.store.redis.as_ref().map(Secret::expose), Some("redis://:p$w@h"));
    assert_eq!(config.upstream.url.host(), "h");
}

#[test]
fn neither_dotenv_nor_file_is_needed() {
    let folder = folder();
    let inputs = gather(folder.path(), None, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(inputs.dotenv.is_none() && inputs.file.is_none());
    // A Python environment.
    fs::create_dir(folder.path().join(".env")).unwrap_or_else(|error| panic!("{error}"));
    assert!(gather(folder.path(), None, &[]).is_ok());
}

#[test]
fn says_what_cannot_be_read() {
    let folder = folder();
    write(
        &folder,
        ".env",
        "# ours\nA=1\nADMIN_TOKEN=open sesame\nSERVICES_OWN=a b\nLOG_FILE='x\nREDIS_URL=sesame\n",
    );
    let message =
        message(gather(folder.path(), Some("gone.toml"), &[("ADMIN_TOKEN", b"ses\xffame")]), &folder);
    assert_eq!(
        message,
        "ADMIN_TOKEN (environment): is not valid UTF-8\n\
         gone.toml: cannot be read: No such file or directory (os error 2)\n\
         .env:3: ADMIN_TOKEN: cannot be read; put the value in single quotes\n\
         .env:5: LOG_FILE: cannot be read; put the value in single quotes\n\
         .env:6: REDIS_URL: cannot be read; put the value in single quotes"
    );
}

#[test]
fn the_flags_file_is_read_or_the_variables_or_the_one_in_the_folder() {
    const VARIABLE: &str = "SIDECACHE_CONFIG";
    let folder = folder();
    let read = |flag: Option<&str>, env: &[(&str, &[u8])]| {
        let inputs = gather(folder.path(), flag, env).unwrap_or_else(|errors| panic!("{errors}"));
        inputs.file.map(|(path, text)| {
            assert_eq!(path, folder.path().join(&text), "its text is its name");
            text
        })
    };
    for name in ["flag.toml", "variable.toml", "dotenv.toml"] {
        write(&folder, name, name);
    }
    assert_eq!(read(None, &[]), None);
    write(&folder, "sidecache.toml", "sidecache.toml");
    assert_eq!(read(None, &[]).as_deref(), Some("sidecache.toml"));
    assert_eq!(read(None, &[(VARIABLE, b" ")]).as_deref(), Some("sidecache.toml"), "an empty one is unset");
    write(&folder, ".env", "SIDECACHE_CONFIG=dotenv.toml");
    assert_eq!(read(None, &[]).as_deref(), Some("dotenv.toml"));
    assert_eq!(read(None, &[(VARIABLE, b"variable.toml")]).as_deref(), Some("variable.toml"));
    assert_eq!(read(Some("flag.toml"), &[(VARIABLE, b"variable.toml")]).as_deref(), Some("flag.toml"));
    // What is overridden is not looked for.
    assert_eq!(read(Some("flag.toml"), &[(VARIABLE, b"gone.toml")]).as_deref(), Some("flag.toml"));
}

#[test]
fn a_named_file_must_be_there_and_a_found_one_be_readable() {
    let folder = folder();
    write(&folder, "sidecache.toml", "");
    let gone = |env: &[(&str, &[u8])]| message(gather(folder.path(), None, env), &folder);
    assert_eq!(
        gone(&[("SIDECACHE_CONFIG", b"gone.toml")]),
        "SIDECACHE_CONFIG (environment): gone.toml cannot be read: No such file or directory (os error 2)"
    );
    write(&folder, ".env", "SIDECACHE_CONFIG=gone.toml");
    assert_eq!(
        gone(&[]),
        ".env:SIDECACHE_CONFIG: gone.toml cannot be read: No such file or directory (os error 2)"
    );
    // Docker makes a folder of a file that is mounted and does not exist.
    let folder = self::folder();
    fs::create_dir(folder.path().join("sidecache.toml")).unwrap_or_else(|error| panic!("{error}"));
    let is_folder = message(gather(folder.path(), None, &[]), &folder);
    assert_eq!(is_folder, "sidecache.toml: cannot be read: Is a directory (os error 21)");
}
