"""Configuration: a TOML file, the environment over it, and messages that say where the mistake is.

Environment variables are named ``DETECTOR_<SECTION>__<KEY>``, such as ``DETECTOR_POLICY__SHADOW=false``. Everything has a
default, so an empty file, or none, is a valid configuration.
"""

from detector.config.cost import CostSection
from detector.config.decisions import DecisionsSection
from detector.config.delivery import DeliverySection, DeliveryTable
from detector.config.detection import BaselineSection, EngineSection, ModelSection, PolicySection
from detector.config.elasticsearch import ElasticsearchSection
from detector.config.gate import GateSection
from detector.config.ingest import ClientRule, IngestSection, InputsSection, MappingSection, TopicSection
from detector.config.loading import load
from detector.config.odometer import OdometerSection, TierTable
from detector.config.ownership import OwnershipSection
from detector.config.perturb import PerturbSection
from detector.config.service import IntakeSection, KafkaSection, OAuthSection, RegistrySection, ServiceSection
from detector.config.whole import Config

__all__ = [
    "BaselineSection",
    "ClientRule",
    "Config",
    "CostSection",
    "DecisionsSection",
    "DeliverySection",
    "DeliveryTable",
    "ElasticsearchSection",
    "EngineSection",
    "GateSection",
    "IngestSection",
    "InputsSection",
    "IntakeSection",
    "KafkaSection",
    "MappingSection",
    "ModelSection",
    "OAuthSection",
    "OdometerSection",
    "OwnershipSection",
    "PerturbSection",
    "PolicySection",
    "RegistrySection",
    "ServiceSection",
    "TierTable",
    "TopicSection",
    "load",
]
