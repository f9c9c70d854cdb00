//! The deployment manifest.

pub mod create_options;
pub mod image_reference;
