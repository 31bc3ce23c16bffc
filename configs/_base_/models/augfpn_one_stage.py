# Consistent supervision of AugFPN's released one-stage detectors.
supervision = dict(
    type="RoIAuxiliary",
    roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=2, aligned=False),
)
