use super::*;

struct LogFolder {
    folder: tempfile::TempDir,
    generation: Arc<AtomicU64>,
}

impl LogFolder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), generation: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("logs").join(name)
    }

    fn open(&self, max_size: u64, keep: usize) -> RotatingFile {
        let generation = Arc::clone(&self.generation);
        let mut file = RotatingFile::open(&self.path("app.log"), max_size, keep, generation).unwrap();
        file.retry_after = Duration::ZERO;
        file
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|_| "(none)".to_owned())
    }
}

#[test]
fn it_rotates_and_leaves_as_many_files_as_asked() {
    let logs = LogFolder::new();
    let mut file = logs.open(8, 2);
    for line in ["aaa\n", "bbb\n", "ccc\n", "ddd\n", "eee\n", "fff\n", "ggg\n"] {
        file.write_all(line.as_bytes()).unwrap();
    }
    assert_eq!(logs.text("app.log"), "ggg\n");
    assert_eq!(logs.text("app.log.1"), "eee\nfff\n");
    assert_eq!(logs.text("app.log.2"), "ccc\nddd\n");
    assert_eq!(logs.text("app.log.3"), "(none)");
}

#[test]
fn a_batch_is_split_between_lines() {
    let logs = LogFolder::new();
    let mut file = logs.open(8, 9);
    file.write_all(b"a\nb\nccc\ndddd\neeeeeeeeeeee\nf\n").unwrap();
    let names = ["app.log.3", "app.log.2", "app.log.1", "app.log"];
    assert_eq!(names.map(|name| logs.text(name)), ["a\nb\nccc\n", "dddd\n", "eeeeeeeeeeee\n", "f\n"]);
}

#[test]
fn the_size_at_the_start_counts() {
    let logs = LogFolder::new();
    logs.open(8, 1).write_all(b"aaaaa\n").unwrap();
    logs.open(8, 1).write_all(b"bbb\n").unwrap();
    assert_eq!((logs.text("app.log.1"), logs.text("app.log")), ("aaaaa\n".into(), "bbb\n".into()));
}

#[test]
fn keeping_none_empties_the_file() {
    let logs = LogFolder::new();
    let mut file = logs.open(8, 0);
    file.write_all(b"aaa\nbbb\nccc\n").unwrap();
    assert_eq!(logs.text("app.log"), "ccc\n");
    assert_eq!(logs.text("app.log.1"), "(none)");
}

#[test]
fn no_bound_never_rotates() {
    let logs = LogFolder::new();
    logs.open(0, 1).write_all(&b"aaa\n".repeat(1000)).unwrap();
    assert_eq!(logs.text("app.log").len(), 4000);
}

#[test]
fn it_reopens_when_asked() {
    let logs = LogFolder::new();
    let mut file = logs.open(0, 1);
    file.write_all(b"a\n").unwrap();
    fs::rename(logs.path("app.log"), logs.path("moved.log")).unwrap();
    file.write_all(b"b\n").unwrap();
    logs.generation.fetch_add(1, Ordering::Release);
    file.write_all(b"c\n").unwrap();
    assert_eq!((logs.text("moved.log"), logs.text("app.log")), ("a\nb\n".into(), "c\n".into()));
}

#[test]
fn a_line_left_half_written_is_ended() {
    let logs = LogFolder::new();
    logs.open(0, 1).write_all(b"a\nhal").unwrap();
    logs.open(0, 1).write_all(b"b\n").unwrap();
    assert_eq!(logs.text("app.log"), "a\nhal\nb\n");
}

#[test]
fn what_is_taken_back_is_this_process_own() {
    let logs = LogFolder::new();
    let mut file = logs.open(0, 1);
    file.write_all(b"aaa\nbb").unwrap();
    let taken_back = |file: &mut RotatingFile, bytes| {
        let mut cut = LogFile(file.current.as_ref().unwrap().lines.get_ref().0.try_clone().unwrap());
        cut.take_back(bytes)
    };
    assert!(taken_back(&mut file, 2));
    assert_eq!(logs.text("app.log"), "aaa\n");
    // Somebody else has written behind, or has emptied the file.
    file.write_all(b"cc").unwrap();
    OpenOptions::new().append(true).open(logs.path("app.log")).unwrap().write_all(b"!").unwrap();
    assert!(!taken_back(&mut file, 2));
    fs::write(logs.path("app.log"), "").unwrap();
    assert!(!taken_back(&mut file, 2));
    assert_eq!(logs.text("app.log"), "");
}

#[test]
fn a_line_begun_is_finished_in_its_file() {
    let logs = LogFolder::new();
    let mut file = logs.open(8, 1);
    file.write_all(b"aaa").unwrap();
    logs.generation.fetch_add(1, Ordering::Release);
    file.write_all(b"aaaaaaaa\nb\n").unwrap();
    assert_eq!((logs.text("app.log.1"), logs.text("app.log")), ("aaaaaaaaaaa\n".into(), "b\n".into()));
}

#[test]
fn a_failure_is_tried_again_and_moves_nothing_twice() {
    let logs = LogFolder::new();
    let mut file = logs.open(4, 2);
    file.write_all(b"aaa\nbbb\nccc\n").unwrap();
    // A folder that is not empty cannot be replaced by a file.
    fs::remove_file(logs.path("app.log.2")).unwrap();
    fs::create_dir_all(logs.path("app.log.2").join("full")).unwrap();
    for _ in 0..3 {
        file.write_all(b"lost\n").unwrap_err();
    }
    assert_eq!((logs.text("app.log.1"), logs.text("app.log")), ("bbb\n".into(), "ccc\n".into()));
    fs::remove_dir_all(logs.path("app.log.2")).unwrap();
    file.write_all(b"ddd\n").unwrap();
    let names = ["app.log.2", "app.log.1", "app.log"];
    assert_eq!(names.map(|name| logs.text(name)), ["bbb\n", "ccc\n", "ddd\n"]);
}

#[test]
fn a_folder_that_went_is_made_again() {
    let logs = LogFolder::new();
    let mut file = logs.open(4, 1);
    fs::remove_dir_all(logs.folder.path().join("logs")).unwrap();
    file.write_all(b"aaa\nbbb\n").unwrap();
    assert_eq!(logs.text("app.log"), "bbb\n");
}

#[test]
fn failures_are_not_repeated_at_once() {
    let logs = LogFolder::new();
    let mut file = logs.open(4, 1);
    file.retry_after = Duration::from_secs(3600);
    let folder = logs.folder.path().join("logs");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "in the way").unwrap();
    file.write_all(b"aaa\nbbb\n").unwrap_err();
    fs::remove_file(&folder).unwrap();
    file.write_all(b"ccc\n").unwrap_err();
    // But a reopen that was asked for is done.
    logs.generation.fetch_add(1, Ordering::Release);
    file.write_all(b"ddd\n").unwrap();
    assert_eq!(logs.text("app.log"), "ddd\n");
}

#[cfg(unix)]
#[test]
fn a_device_is_never_renamed() {
    let logs = LogFolder::new();
    fs::create_dir_all(logs.folder.path().join("logs")).unwrap();
    std::os::unix::fs::symlink("/dev/null", logs.path("app.log")).unwrap();
    logs.open(4, 1).write_all(b"aaa\nbbb\nccc\n").unwrap();
    assert!(fs::symlink_metadata(logs.path("app.log")).unwrap().is_symlink());
    assert_eq!(logs.text("app.log.1"), "(none)");
}
