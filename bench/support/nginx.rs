//! nginx, if it is installed.

use std::{fs, path::Path, process::Command};

use super::process::{Listening, is_installed};

/// Starts one in front of `upstream` that works in `folder`: it caches, keyed on the body, with its cache lock on.
/// What is asked under `/logged/` goes into its access log, under `/large/` a body may have 128 KiB, and what is
/// asked under `/uncached/` it passes on.
pub fn start(folder: &Path, upstream: u16) -> Option<Listening> {
    is_installed("nginx").then(|| {
        Listening::start("nginx", |port| {
            let home = folder.join(format!("nginx-{port}"));
            fs::create_dir_all(&home).expect("a folder of its own");
            fs::write(home.join("nginx.conf"), settings(port, upstream)).expect("its settings");
            let mut command = Command::new("nginx");
            command.arg("-p").arg(&home).args(["-c", "nginx.conf", "-e", "error.log"]);
            command
        })
    })
}

fn settings(port: u16, upstream: u16) -> String {
    // Started by root, its workers would be another user, who cannot read the folder.
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = temporary.iter().map(|what| format!("{what}_temp_path tmp_{what};\n")).collect();
    format!(
        r#"
user root;
daemon off;
pid nginx.pid;
error_log error.log crit;
worker_processes 2;
events {{ worker_connections 32768; }}
http {{
    access_log off;
    {temporary}
    proxy_cache_path cache keys_zone=bench:16m max_size=256m;
    upstream service {{ server 127.0.0.1:{upstream}; keepalive 64; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    client_body_buffer_size 64k;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_cache bench;
        proxy_cache_methods GET HEAD POST;
        proxy_cache_key "$request_uri|$request_body";
        proxy_cache_valid 200 10m;
        proxy_cache_lock on;
        add_header X-Cache $upstream_cache_status;
        location / {{ proxy_pass http://service; }}
        location /logged/ {{
            proxy_pass http://service/;
            access_log access.log;
        }}
        location /large/ {{
            proxy_pass http://service/;
            client_body_buffer_size 128k;
            # The key, and so the body, must fit.
            proxy_buffer_size 256k;
            proxy_buffers 4 256k;
        }}
        location /uncached/ {{
            proxy_pass http://service/;
            proxy_cache off;
            proxy_buffering off;
        }}
    }}
}}
"#
    )
}
