"""What a worker tells about itself: metrics, health over HTTP, logs."""
