//! The deployment manifest.

pub mod checks;
pub mod content;
pub mod create_options;
pub mod image_reference;
pub mod layers;
pub mod variable;
