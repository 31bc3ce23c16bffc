_base_ = "../_base_/detectors/fcos_r50_fpn_gn-head_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(neck=dict(type="DRFPN", srb=dict(zero_init=False)))
train_dataloader = dict(batch_size=8, num_workers=8, batch_sampler=dict(drop_last=True))
optim_wrapper = dict(optimizer=dict(lr=0.02))
auto_scale_lr = dict(base_batch_size=24)
