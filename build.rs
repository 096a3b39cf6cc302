// SPDX-License-Identifier: MPL-2.0
fn main() {
    gst_plugin_version_helper::info();
    // Without these, every change of any file in this folder, and of a test or a document too, builds the plugin anew.
    for path in ["build.rs", "Cargo.toml", ".git/HEAD", ".git/logs/HEAD"] {
        if std::path::Path::new(path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}
