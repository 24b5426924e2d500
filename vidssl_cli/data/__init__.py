"""From DATA to training batches: manifests, scans, packed sets, samples, augmentation."""
