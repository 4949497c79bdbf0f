//! Running the real binary.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Long enough for a loaded machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn streamrun(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamrun"));
    command.args(args).env("NO_COLOR", "1").env_remove("STREAMRUN_LOG").stdin(Stdio::null());
    command
}

/// Runs to the end.
pub fn run_in(folder: &Path, args: &[&str]) -> Output {
    streamrun(args).current_dir(folder).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

/// A port that nobody uses right now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running pipeline whose output is read line by line.
pub struct Running {
    child: Child,
    out: Receiver<String>,
    log: Receiver<String>,
}

impl Running {
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        let mut child =
            streamrun(args).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let log = lines(child.stderr.take().unwrap());
        Self { child, out, log }
    }

    /// The next line of output that fits.
    pub fn wait_for(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        next(&self.out, what, fits)
    }

    /// The next line of the log that fits.
    pub fn wait_for_log(&self, text: &str) -> String {
        next(&self.log, text, |line| line.contains(text))
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end; the exit code and what is left of the output.
    pub fn finish(mut self) -> (i32, Vec<String>) {
        let left: Vec<String> = self.out.iter().collect();
        (self.child.wait().unwrap().code().unwrap_or(-1), left)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn next(lines: &Receiver<String>, what: &str, fits: impl Fn(&str) -> bool) -> String {
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if fits(&line) => return line,
            Ok(line) => seen.push(line),
            Err(error) => panic!("waiting for {what}: {error}; seen:\n{}", seen.join("\n")),
        }
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A text server that a `socket` source connects to.
pub struct TextServer {
    listener: TcpListener,
}

impl TextServer {
    pub fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub fn accept(&self) -> TcpStream {
        self.listener.accept().unwrap().0
    }
}

pub fn send(client: &mut TcpStream, text: &str) {
    client.write_all(text.as_bytes()).unwrap();
    client.flush().unwrap();
}
