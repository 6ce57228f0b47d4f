"""Loaded by the fork server alone: LanceDB calls its fork support experimental; here it is unused before the fork."""

import warnings

warnings.simplefilter("ignore")
